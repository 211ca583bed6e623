"""The queue of a Slurm cluster, through submitit: jobs are submitted to it, and asked what became of them."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from formers.lab.executors.slurm_arm import ArmOnNode
from formers.lab.study.slurm_resources import SlurmResources
from formers.machine.environment import installed_version

QueueKind = Literal["slurm", "local", "debug"]
_COMMANDS = ("sbatch", "srun", "sacct")
_MOST_IN_AN_ARRAY = 1000
"""Jobs that are submitted at once: what most clusters take."""
_SECONDS_BETWEEN_QUESTIONS = 30.0
"""Between questions to Slurm's database, which all users of a cluster share."""
_PREEMPTED_SECONDS = 300.0
"""Seconds after which a job that was preempted, and did not go back into the queue, is lost."""
_SIGNAL_SECONDS = 120
"""Seconds before the end of its time at which an arm is told: it finishes a step, and writes a checkpoint."""


class SlurmQueue:
    """Jobs of this study on a cluster.

    Attributes:
        kind: `slurm`; or `local`, processes of this machine, and `debug`, this process, both without any limit: they
            are for tests, and for trying a study before it goes to a cluster.

    Raises:
        ValueError: where submitit, or Slurm, is not installed.
    """

    def __init__(self, folder: Path, kind: QueueKind, resources: SlurmResources) -> None:
        check_installed(kind)
        self.folder, self.kind, self.resources = folder, kind, resources
        self._known: dict[str, Any] = {}
        self._asked, self._preempted = -math.inf, dict[str, float]()

    def submit(self, arms: Sequence[ArmOnNode], name: str) -> list[str]:
        """Put arms into the queue as jobs called `name`, an array of up to 1000 of them, and return their numbers.

        Raises:
            ValueError: where Slurm refuses them, with its reason.
        """
        numbers: list[str] = []
        for start in range(0, len(arms), _MOST_IN_AN_ARRAY):
            jobs = self._submit_array(arms[start : start + _MOST_IN_AN_ARRAY], name)
            self._known |= {job.job_id: job for job in jobs}
            numbers += [job.job_id for job in jobs]
        return numbers

    def adopt(self, numbers: Iterable[str]) -> None:
        """Take up jobs that an earlier process submitted, so that the cluster is asked about all of them at once."""
        if self.kind != "debug":  # whose jobs end with their process
            for number in numbers:
                self._job(number)

    def is_over(self, number: str) -> bool:
        """Return whether a job has ended, as far as the cluster says: by itself, killed, or cancelled."""
        if self.kind == "debug" and number not in self._known:
            return True
        job = self._job(number)
        if self.kind == "local" and job._process is None:  # of an earlier process
            return not _runs(number)
        if self.kind == "slurm" and time.monotonic() - self._asked > _SECONDS_BETWEEN_QUESTIONS:
            self._asked = time.monotonic()
            job.get_info(mode="force")  # about all jobs, in one question
        if job.done():
            return True
        since = self._preempted.setdefault(number, time.monotonic())
        if self.state(number) != "PREEMPTED":
            del self._preempted[number]
            return False
        return time.monotonic() - since > _PREEMPTED_SECONDS

    def state(self, number: str) -> str:
        """Return the state of a job in Slurm's words, as in PENDING or OUT_OF_MEMORY."""
        return str(self._job(number).state).split()[0].upper()  # `CANCELLED by 1000`

    def log(self, number: str) -> Path:
        """Return the file that a job writes its errors to."""
        return Path(self._job(number).paths.stderr)

    @property
    def description(self) -> str:
        """The kind of the cluster and the version of what submits to it, for rows."""
        return f"{self.kind}, submitit {installed_version('submitit')}"

    def _job(self, number: str) -> Any:
        """Return submitit's handle of a job; of one that an earlier process submitted, a new one."""
        if number not in self._known:
            self._known[number] = self._executor_class().job_class(self.folder, number)
        return self._known[number]

    def _submit_array(self, arms: Sequence[ArmOnNode], name: str) -> list[Any]:
        executor = self._executor(name)
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return list(executor.submit_array(arms))
        except (FailedJobError, FailedSubmissionError) as error:
            raise ValueError(
                f"Slurm refuses the jobs: {' '.join(str(error).split()) or 'without a reason'}. Asked for was --slurm "
                f"{self.resources.text!r}"
            ) from None

    def _executor(self, name: str) -> Any:
        """Return submitit's executor with what each job is given."""
        kind, given = self._executor_class(), self.resources
        if self.kind == "debug":
            return kind(self.folder)
        executor = kind(self.folder, max_num_timeout=given.restarts)
        if self.kind == "local":
            executor.update_parameters(timeout_min=given.minutes, gpus_per_node=given.gpus)
            return executor
        texts = {name: getattr(given, name) for name in ("partition", "account", "qos", "constraint")}
        options = {name: value for name, value in texts.items() if value}
        options |= {"mem": "".join(given.memory.split()).upper()} if given.memory else {}
        options |= {"gpus_per_node": given.gpus} if given.gpus else {}
        options |= {"array_parallelism": given.at_once} if given.at_once else {}
        options |= {"additional_parameters": given.sbatch_options} if given.sbatch_options else {}
        executor.update_parameters(
            job_name=name,
            time=given.minutes,
            cpus_per_task=given.cores,
            signal_delay_s=min(_SIGNAL_SECONDS, 30 * given.minutes),
            setup=[f"export OMP_NUM_THREADS={given.cores}", *given.setup],
            wckey="",
            **options,
        )
        return executor

    def _executor_class(self) -> Any:
        import submitit

        logging.getLogger("submitit").setLevel(logging.ERROR)
        return {"slurm": submitit.SlurmExecutor, "local": submitit.LocalExecutor, "debug": submitit.DebugExecutor}[
            self.kind
        ]


def check_installed(kind: QueueKind) -> None:
    """Raise ValueError where submitit is not installed, or the commands of Slurm are not there."""
    if find_spec("submitit") is None:
        raise ValueError("--slurm needs submitit, which is not installed: pip install 'formers[lab,slurm]'")
    absent = [name for name in _COMMANDS if shutil.which(name) is None] if kind == "slurm" else []
    if absent:
        raise ValueError(
            f"--slurm needs the commands of Slurm, and there is no {absent[0]} on this machine; start the study on a "
            "login node of the cluster, or train here: --slurm off"
        )


def _runs(number: str) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(int(number), 0)
    except (OSError, ValueError):
        return False
    return True
