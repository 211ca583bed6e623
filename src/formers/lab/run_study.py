"""Running a study: every arm with every seed, and the report at the end."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from formers.lab.distributed import ranks
from formers.lab.executors.executor import Executor
from formers.lab.executors.serial import Serial
from formers.lab.executors.slurm import Slurm
from formers.lab.executors.torchrun import Torchrun, follow_rank0, lead_ranks
from formers.lab.plan.jobs import plan_jobs, plan_search
from formers.lab.plan.sampled_search import SampledSearch
from formers.lab.plan.task_check import check_task
from formers.lab.plan.trial_costs import with_latency
from formers.lab.report.study_files import write_report
from formers.lab.store.experiment import check_place, experiment_name
from formers.lab.store.records import FINAL, Results, Row
from formers.lab.store.store import Store
from formers.lab.store.write_error import NoAnswer, WriteError, reporting_write_errors
from formers.lab.study.choosing import best_candidates, front_candidates, front_text, taken_text
from formers.lab.study.folder import how_to_resume, open_folder
from formers.lab.study.newest import number_opening
from formers.lab.study.study import Study
from formers.lab.train.device import device_for
from formers.lab.train.former_name import take_over_checkpoints
from formers.lab.train.job import Job
from formers.lab.train.kept_batches import forget_batches
from formers.lab.train.other_lengths import untested_lengths
from formers.lab.train.progress import Progress, Silent
from formers.lab.train.stop import Stop, Stopped, catch_signals
from formers.lab.train.training import remove_checkpoints
from formers.machine.quiet_libraries import quiet_libraries

_SINGLE_PROCESS = (
    "--shard spreads a model over processes that train it together, but this is a single one; start two of them with "
    "`torchrun --nproc-per-node 2 -m formers …`, without --jobs and --ray, or leave the model whole: --no-shard"
)

_PAUSES = (5, 10, 20, 40, 80)
"""Seconds between attempts to keep a row on a server that does not answer: it may be starting again."""
_SECONDS_BETWEEN_CHECKS = 0.2  # of whether a stop was requested


def run(study: Study, progress: Progress | None = None, executor: Executor | None = None) -> Results:
    """Train what is not trained yet, write the report into the study's folder, and return the results.

    Every arm is checked before any trains. An arm that fails, diverges, runs out of memory or cannot exist is a row of
    its own. Rows that are finished are not trained again; one that was stopped goes on from its checkpoint, exactly.
    The executor trains the arms: one after the other by default, or `Processes(4)` four side by side; a study with
    `slurm` trains them as jobs of a cluster. Under `torchrun` all processes train each arm together; rank 0 writes, and
    every rank returns the results.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option), `shard` in a single process, a device or precision
        that this machine has not, or a folder whose path MLflow reads as another one, before anything trains.
        TaskError: where the task cannot be trained on, whichever the arm, before anything trains.
        Stopped: on Ctrl-C or SIGTERM, after keeping the checkpoint of the running arm.
        FolderInUse: where another process works in the study's folder.
        WriteError: where something cannot be written; the same command goes on once it can.
    """
    if study.shard and ranks.world_size() == 1:
        raise ValueError(_SINGLE_PROCESS)
    if executor is None and study.slurm:
        executor = Slurm(study.slurm)
    if executor is None:
        device_for(study.compute)  # raises before anything trains
    quiet_libraries()
    gc.freeze()  # a training collects garbage at its start; what was imported before it is none
    if ranks.world_size() == 1:
        try:
            return _run_and_publish(study, progress or Silent(), executor or Serial())
        finally:
            forget_batches()
    if executor is not None:
        raise ValueError(
            "under torchrun all processes train one arm together; arms side by side, and jobs of a cluster, are for a "
            "single process"
        )
    ranks.local_batch_size(study.budget.batch_size, study.compute.accumulate)  # raises before anything trains
    with ranks.process_group():
        if not ranks.is_rank0():
            return follow_rank0()
        return lead_ranks(lambda: _run_and_publish(study, progress or Silent(), Torchrun()))


def _run_and_publish(study: Study, progress: Progress, executor: Executor) -> Results:
    """Run a study as the one process that writes into its folder."""
    check_place(study.folder)
    plan = plan_jobs(study)
    trials = plan_search(study) if study.searches else []
    search = SampledSearch(study) if study.space else None  # raises without Optuna, before anything trains
    references = check_task(study, plan)
    with _telling_how_to_resume(study), open_folder(study, progress.note), catch_signals() as stop:
        store = Store(study.folder, experiment_name(study.folder))
        tried: tuple[Row, ...] = ()
        if trials:
            tried = _run_all(study, trials, store, progress, stop, executor)
            taken = best_candidates(study, tried)
            progress.note(taken_text(taken))
            plan = plan_jobs(study, taken)
        if search:
            tried = _run_search(search, store, progress, stop, executor)
            plan = with_latency(plan_jobs(study, further=front_candidates(study, tried)), search.space.under)
            progress.note(front_text(study, tried))
        rows = _run_all(study, plan, store, progress, stop, executor)
        with reporting_write_errors("the report", study.folder):
            return write_report(study, rows, references, tried)


def _run_search(
    search: SampledSearch, store: Store, progress: Progress, stop: Stop, executor: Executor
) -> tuple[Row, ...]:
    """Return the rows of all trials of a larger search, those that were beyond a limit included."""
    rows: list[Row] = []
    while entries := search.draw():
        found = _run_all(search.study, entries, store, progress, stop, executor)
        search.tell(found)
        rows += found
    return tuple(rows)


@contextmanager
def _telling_how_to_resume(study: Study) -> Iterator[None]:
    """Add what is kept and how to go on to what breaks the block off: a full disk, an impatient Ctrl-C."""
    try:
        yield
    except WriteError as error:
        raise WriteError(f"{error}\nWhat was kept before is still there. {how_to_resume(study)}") from error
    except Stopped:
        raise
    except KeyboardInterrupt:
        kept = "jobs in the queue stay there" if study.slurm else "what is since the last checkpoint is lost"
        raise Stopped(f"stopped at once; {kept}. {how_to_resume(study)}") from None


def _run_all(
    study: Study, plan: list[Job | Row], store: Store, progress: Progress, stop: Stop, executor: Executor
) -> tuple[Row, ...]:
    """Return the row of every entry of the plan: kept from before, or trained now. Raise Stopped when asked to stop."""
    before = store.rows()
    store.check_writable()
    number_opening(study.folder)
    rows = {i: row for i, entry in enumerate(plan) if (row := _kept_row(entry, before.get(entry.fingerprint)))}
    for i, row in rows.items():
        entry = plan[i]
        progress.end(row, entry.label if isinstance(entry, Job) else entry.arm)
        if (known := before.get(row.fingerprint)) is None or _is_named_anew(row, known):
            _save_patiently(store, row, progress, stop)
        if isinstance(entry, Job):
            remove_checkpoints(entry)  # they are still there where the process died after keeping the row
    left = [
        (i, _with_its_row(entry, before.get(entry.fingerprint)))
        for i, entry in enumerate(plan)
        if i not in rows and isinstance(entry, Job)
    ]
    jobs = [job for _, job in left]
    if not isinstance(executor, Slurm):  # whose jobs may be at work there
        take_over_checkpoints([job.checkpoint_folder for job in jobs])
    with closing(executor.run_jobs(jobs, progress, stop)) as arriving:
        for k, row in arriving:
            i, job = left[k]
            rows[i] = row
            progress.end(row, job.label)
            _save_patiently(store, row, progress, stop)
            if row.status in FINAL:
                remove_checkpoints(job)
    done = [rows[i] for i in sorted(rows)]
    untested = [rows[i].arm for i, entry in enumerate(plan) if i in rows and _lacks_tests(entry, rows[i])]
    if len(done) < len(plan) or untested or any(row.status == "stopped" for row in done):
        raise Stopped(_stopped_message(study, plan, done, untested))
    return tuple(done)


def _save_patiently(store: Store, row: Row, progress: Progress, stop: Stop) -> None:
    """Keep a row; where the server does not answer, ask it again for minutes, but not once a stop is requested.

    Raises:
        WriteError: where the row cannot be kept.
    """
    for pause in _PAUSES:
        try:
            store.save(row)
            return
        except NoAnswer as error:
            if stop.requested:
                raise
            progress.note(f"{error}; trying again in {pause} s")
        end = time.monotonic() + pause
        while time.monotonic() < end and not stop.requested:
            time.sleep(_SECONDS_BETWEEN_CHECKS)
    store.save(row)


def _kept_row(entry: Job | Row, before: Row | None) -> Row | None:
    """Return a row that needs no training: one from before, under the arm's present name, or of an unsupported arm."""
    if before and _is_final(before, entry) and not _lacks_tests(entry, before):
        name = entry.arm if isinstance(entry, Row) else entry.arm.name
        return replace(before, arm=name, options=dict(entry.options), search_id=entry.search_id)
    return entry if isinstance(entry, Row) else None


def _is_final(row: Row, entry: Job | Row) -> bool:
    """Return whether nothing trains after a row. In a larger search nothing does after a failure, too.

    The trials after it were drawn knowing of it; another result would draw others.
    """
    return row.status in FINAL or (bool(entry.search_id) and row.status != "stopped")


def _is_named_anew(row: Row, known: Row) -> bool:
    """Return whether a row of a larger search is kept under another name, from another search in the same folder."""
    return bool(row.search_id) and (row.search_id, row.arm) != (known.search_id, known.arm)


def _lacks_tests(entry: Job | Row, row: Row) -> bool:
    """Return whether a row is of a trained model that has not been tested at all lengths of the study."""
    return isinstance(entry, Job) and bool(untested_lengths(entry, row))


def _with_its_row(job: Job, before: Row | None) -> Job:
    """Return the job with its row from before, where it is trained and lacks tests at some lengths only."""
    return replace(job, trained=before) if before and before.status == "finished" else job


def _stopped_message(study: Study, plan: list[Job | Row], rows: list[Row], untested: list[str]) -> str:
    """Return what is kept of a stopped study, and the command that goes on with it."""
    runs = f"{len(plan)} runs{' of the search' if plan[0].is_search else ''}"
    done = sum(row.status in FINAL for row in rows) - len(untested)
    if study.space and plan[0].search_id:
        jobs = [entry for entry in plan if isinstance(entry, Job)]
        done -= len(plan) - len(jobs)
        runs = f"{len(jobs)} runs from {jobs[0].arm.name} on, in a search for {study.space.trials} trials,"
    held = [f"{row.arm!r} is kept at step {row.steps}" for row in rows if row.status == "stopped"]
    held += [f"{arm!r} is trained, and not yet tested at all lengths" for arm in untested]
    return f"stopped: {done} of {runs} are done{'; ' if held else ''}{', '.join(held)}. {how_to_resume(study)}"
