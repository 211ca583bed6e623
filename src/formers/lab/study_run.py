"""Running a study: every arm with every seed, one after the other, and the report at the end."""

from __future__ import annotations

from dataclasses import replace

from formers.lab.job import Job
from formers.lab.plan import planned
from formers.lab.progress import Progress, Silent
from formers.lab.publish import publish
from formers.lab.quiet import quiet
from formers.lab.row import Results, Row
from formers.lab.stop import Stop, Stopped, stopping
from formers.lab.store import Store
from formers.lab.study import Study
from formers.lab.training import train

KEPT = ("finished", "diverged", "unsupported")  # started again, the others are tried again


def run(study: Study, progress: Progress | None = None) -> Results:
    """Trains what is not trained yet, then writes `report.html` and `report.json` into the study's folder.

    Every arm is checked before any trains. An arm that fails, diverges, runs out of memory or cannot exist is a row of its
    own. Rows that are finished are not trained again; one that was stopped goes on from its checkpoint, exactly.

    Raises:
        ValueError: for an arm that is wrong (a misspelt option), before anything trains.
        Stopped: on Ctrl-C or SIGTERM, after keeping the checkpoint of the running arm.
    """
    quiet()
    plan = planned(study)
    study.place.mkdir(parents=True, exist_ok=True)
    study.to_yaml(study.place / "study.yaml")
    store = Store(study.place, f"formers/{study.place.name}")
    with stopping() as stop:
        rows = run_all(study, plan, store, progress or Silent(), stop)
    return publish(study, rows)


def run_all(study: Study, plan: list[Job | Row], store: Store, progress: Progress, stop: Stop) -> tuple[Row, ...]:
    """The row of every job: kept from before, or trained now. Raises `Stopped` when asked to."""
    before, rows = store.rows(), list[Row]()
    for job in plan:
        known = before.get(job.fingerprint)
        if known and known.status in KEPT:
            row = replace(known, arm=job.arm if isinstance(job, Row) else job.arm.name)
            progress.end(row, name(job))
        else:
            row = job if isinstance(job, Row) else run_one(job, progress, stop)
            progress.end(row, name(job))
            store.save(row)
        rows.append(row)
        if (stop.requested and len(rows) < len(plan)) or row.status == "stopped":
            raise Stopped(how_to_go_on(study, rows, len(plan)))
    return tuple(rows)


def run_one(job: Job, progress: Progress, stop: Stop) -> Row:
    progress.begin(job.label, job.budget.steps)
    return train(job, progress, stop)


def name(job: Job | Row) -> str:
    return job.arm if isinstance(job, Row) else job.label


def how_to_go_on(study: Study, rows: list[Row], total: int) -> str:
    """What is kept of a stopped study, and the command that goes on with it."""
    done = sum(row.status in KEPT for row in rows)
    last = rows[-1]
    kept = f"; {last.arm!r} is kept at step {last.steps}" if last.status == "stopped" else ""
    return f"stopped: {done} of {total} runs are done{kept}. Go on with: formers ablate {study.place / 'study.yaml'}"
