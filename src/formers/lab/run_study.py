"""Running a study: every arm with every seed, and the report at the end."""

from __future__ import annotations

import gc
from contextlib import closing
from dataclasses import replace

from formers.lab.distributed import ranks
from formers.lab.executors.executor import Executor, InTurn
from formers.lab.executors.torchrun import Together, follow, lead
from formers.lab.plan.job import Job
from formers.lab.plan.plan import planned
from formers.lab.report.study_files import write_report
from formers.lab.store.folder import folder_of, go_on
from formers.lab.store.quiet_libraries import quiet
from formers.lab.store.records import Results, Row
from formers.lab.store.store import Store
from formers.lab.store.write_error import writing
from formers.lab.study.study import Study
from formers.lab.train.progress import Progress, Silent
from formers.lab.train.stop import Stop, Stopped, stopping
from formers.lab.train.training import forget

_NOT_SPREAD = (
    "--shard spreads a model over processes that train it together, but this is a single one; start two of them with "
    "`torchrun --nproc-per-node 2 -m formers …`, without --jobs and --ray, or leave the model whole: --no-shard"
)
_KEPT = ("finished", "diverged", "unsupported")  # started again, the others are tried again


def run(study: Study, progress: Progress | None = None, executor: Executor | None = None) -> Results:
    """Trains what is not trained yet, then writes `report.html` and `report.json` into the study's folder.

    Every arm is checked before any trains. An arm that fails, diverges, runs out of memory or cannot exist is a row of its
    own. Rows that are finished are not trained again; one that was stopped goes on from its checkpoint, exactly.
    The executor says where arms train: one after the other by default, or `Processes(4)` for four side by side. Under
    `torchrun` all processes train each arm together; the first one writes, and every one gets the results.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option), or `shard` in a single process, before anything trains.
        Stopped: on Ctrl-C or SIGTERM, after keeping the checkpoint of the running arm.
        Busy: where another process works in the study's folder.
        WriteError: where something cannot be written; the same command goes on once it can.
    """
    if study.shard and ranks.world_size() == 1:
        raise ValueError(_NOT_SPREAD)
    quiet()
    gc.freeze()  # a training collects garbage at its start; what was imported before it is none
    if ranks.world_size() == 1:
        return _run_here(study, progress or Silent(), executor or InTurn())
    if executor is not None:
        raise ValueError(
            "under torchrun all processes train one arm together; arms side by side are for a single process"
        )
    ranks.share(study.given.batch_size)  # raises before anything trains
    with ranks.joined():
        return lead(lambda: _run_here(study, progress or Silent(), Together())) if ranks.is_rank0() else follow()


def _run_here(study: Study, progress: Progress, executor: Executor) -> Results:
    """Runs a study as the one process that writes into its folder."""
    plan = planned(study)
    with folder_of(study, progress), stopping() as stop:
        store = Store(study.place, f"formers/{study.place.name}")
        rows = _run_all(study, plan, store, progress, stop, executor)
        with writing("the report", study.place):
            return write_report(study, rows)


def _run_all(
    study: Study, plan: list[Job | Row], store: Store, progress: Progress, stop: Stop, executor: Executor
) -> tuple[Row, ...]:
    """The row of every job: kept from before, or trained now. Raises `Stopped` when asked to."""
    before = store.rows()
    store.ready()
    rows = {i: row for i, job in enumerate(plan) if (row := kept(job, before.get(job.fingerprint))) is not None}
    for i, row in rows.items():
        progress.end(row, name(job := plan[i]))
        if row.fingerprint not in before:
            store.save(row)
        if isinstance(job, Job):
            forget(job)  # as it was not, if the process died after keeping the row
    left = [(i, job) for i, job in enumerate(plan) if i not in rows and isinstance(job, Job)]
    with closing(executor.rows([job for _, job in left], progress, stop)) as arriving:
        for k, row in arriving:
            i, job = left[k]
            rows[i] = row
            progress.end(row, job.label)
            store.save(row)
            if row.status in _KEPT:
                forget(job)
    done = [rows[i] for i in sorted(rows)]
    if len(done) < len(plan) or any(row.status == "stopped" for row in done):
        raise Stopped(_how_to_go_on(study, done, len(plan)))
    return tuple(done)


def kept(job: Job | Row, known: Row | None) -> Row | None:
    """The row that needs no training: the one from before, under the arm's present name, or that of an arm that cannot exist."""
    if known and known.status in _KEPT:
        return replace(known, arm=job.arm if isinstance(job, Row) else job.arm.name)
    return job if isinstance(job, Row) else None


def name(job: Job | Row) -> str:
    return job.arm if isinstance(job, Row) else job.label


def _how_to_go_on(study: Study, rows: list[Row], total: int) -> str:
    """What is kept of a stopped study, and the command that goes on with it."""
    done = sum(row.status in _KEPT for row in rows)
    held = ", ".join(f"{row.arm!r} is kept at step {row.steps}" for row in rows if row.status == "stopped")
    return f"stopped: {done} of {total} runs are done{'; ' if held else ''}{held}. {go_on(study)}"
