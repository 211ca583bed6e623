"""A process that has imported everything once, and forks: `python server.py FD`, a socket that asks come by.

Each ask is a JSON object with words, folder and environment, and four files: input, output, errors, and where the
number of the new process is told, then its exit code and the seconds of the processor that it took.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import runpy
import signal
import socket
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

HEAVY = (
    *("formers.lab.run_study", "formers.cli.app", "formers.testing", "formers.adapt", "formers.bench", "formers.plot"),
    *("formers.lab.executors.processes", "formers.lab.report.html", "mlflow.store.tracking.sqlalchemy_store"),
)


def main() -> None:
    for name in HEAVY:
        import_module(name)
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    assert not others, f"a fork would lose the threads {others}"
    asks = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what has ended leaves nothing to wait for
    while True:
        data, files, _, _ = socket.recv_fds(asks, 1 << 20, 4)
        if not data:
            return
        if os.fork() == 0:
            asks.close()
            watch(json.loads(data), files)
        for file in files:
            os.close(file)


def watch(ask: dict[str, Any], files: list[int]) -> NoReturn:
    """Fork the process that was asked for, and tell of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(files[3])
        become(ask, files[:3])
    for file in files[:3]:
        os.close(file)
    os.write(files[3], f"{child}\n".encode())
    _, status, used = os.wait4(child, 0)
    os.write(files[3], f"{os.waitstatus_to_exitcode(status)} {seconds(used)}\n".encode())
    os._exit(0)


def seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def become(ask: dict[str, Any], files: list[int]) -> NoReturn:
    """Be the process that `python WORDS` would be: end as it would."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, file in enumerate(files):
        os.dup2(file, place)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(ask["folder"])
    os.environ.clear()
    os.environ.update(ask["environment"])
    sys.path[:0] = [p for p in ask["environment"].get("PYTHONPATH", "").split(os.pathsep) if p and p not in sys.path]
    code = 0
    try:
        run(ask["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(words: list[str]) -> None:
    """Run `-c CODE`, `-m MODULE …` or `FILE …`."""
    match words:
        case ["-c", code, *rest]:
            sys.argv, sys.path[:0] = ["-c", *rest], [""]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.argv, sys.path[:0] = [module, *rest], [os.getcwd()]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [file, *rest]:
            sys.argv, sys.path[:0] = [file, *rest], [str(Path(file).parent)]
            runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    main()
