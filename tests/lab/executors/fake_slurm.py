"""The commands of Slurm, for tests: `sbatch`, `srun`, `sacct`, `scontrol` and `scancel`, by the name it is called with.

A job is a process of this machine, or one for each number of its array; what is known of it lies in the folder
FAKE_SLURM: `12_0.state` holds its state, `12_0.pid` its process, and `hold` keeps new jobs waiting.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
NAMES = ("sbatch", "srun", "sacct", "scontrol", "scancel")


def sbatch(script: str) -> None:
    """Submit a script."""
    text = Path(script).read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.M))
    if options.get("partition") == "nowhere":
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = 10 + len(list(HOME.glob("*.sh")))
    (HOME / f"{number}.sh").write_text(text)
    count = re.fullmatch(r"0-(\d+)%\d+", options.get("array", ""))
    for index in range(int(count[1]) + 1) if count else [None]:
        name = str(number) if index is None else f"{number}_{index}"
        write(name, "PENDING")
        me = [sys.executable, __file__, "controller", name, script]
        with (HOME / f"{name}.controller").open("w") as log:
            subprocess.Popen(me, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    print(f"Submitted batch job {number}")


def controller(name: str, script: str) -> None:
    """Run a job: again and again, while it asks for that."""
    while (HOME / "hold").exists():
        time.sleep(0.05)
    number, _, index = name.partition("_")
    environment = dict(os.environ) | {"SLURM_JOB_ID": number, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index} if index else {}
    while True:
        write(name, "RUNNING")
        process = subprocess.Popen(["bash", script], env=environment, start_new_session=True)
        (HOME / f"{name}.pid").write_text(str(process.pid))
        code = process.wait()
        again = HOME / f"{name}.requeue"
        if not again.exists():
            break
        again.unlink()
        write(name, "PENDING")
        time.sleep(0.2)
    if (HOME / f"{name}.state").read_text() == "RUNNING":
        write(name, "COMPLETED" if code == 0 else "FAILED")


def srun(*words: str) -> None:
    """Run the task of a job, with its output in files."""
    files, words = {}, tuple(words)
    while words[0].startswith("--"):
        if words[0] in ("--output", "--error"):
            files[words[0]], words = words[1], words[1:]
        words = words[1:]
    own = {"%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID", "%j": "SLURM_JOB_ID", "%t": "SLURM_PROCID"}
    for descriptor, option in ((1, "--output"), (2, "--error")):
        path = re.sub("%[Aajt]", lambda found: os.environ[own[found[0]]], files[option])
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.execvp(words[0], words)


def sacct(*words: str) -> None:
    """Print the states of all jobs."""
    print("JobID|State|NodeList")
    for file in HOME.glob("*.state"):
        print(f"{file.stem}|{file.read_text()}|here")


def scontrol(action: str, name: str) -> None:
    """Put a job back into the queue."""
    assert action == "requeue"
    (HOME / f"{name}.requeue").touch()


def scancel(name: str) -> None:
    """Kill all jobs of an array, or one."""
    for file in HOME.glob("*.pid"):
        if file.stem == name or file.stem.partition("_")[0] == name:
            write(file.stem, "CANCELLED by 0")
            os.killpg(int(file.read_text()), signal.SIGKILL)


def write(name: str, state: str) -> None:
    part = HOME / f"{name}.part"
    part.write_text(state)
    part.rename(HOME / f"{name}.state")


def install(folder: Path) -> None:
    """Put the commands into a folder."""
    for name in NAMES:
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        command.chmod(0o755)


if __name__ == "__main__":
    {**{name: globals()[name] for name in NAMES}, "controller": controller}[sys.argv[1]](*sys.argv[2:])
