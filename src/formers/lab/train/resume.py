"""Going on with a training: the checkpoint to start from, and what the user is told about it."""

from __future__ import annotations

from formers.lab.distributed import ranks
from formers.lab.train.callback import TrainingCallback
from formers.lab.train.checkpoint import ResumePoint, newest_checkpoint


def find_resume_point(callback: TrainingCallback) -> ResumePoint:
    """Return the checkpoint that a job goes on from, and tell the user why it is not the newest, or why there is none.

    The best weights so far are those in the checkpoint, whatever lies beside it; without one there are none, and the
    training starts at the beginning.

    Raises:
        ForeignCheckpoint: where the job's folder holds checkpoints of something else.
    """
    job, crashes = callback.job, callback.attempt.crashes
    point = newest_checkpoint(
        job.checkpoint_folder,
        job.fingerprint,
        job.study.shard,
        evaluated_from=min(callback.evaluation_steps),
        compute=job.study.compute,
    )
    notes = list(point.notes)
    if crashes:
        notes.insert(0, f"the last attempt died after step {crashes[-1]} (killed, or out of memory?)")
    if ranks.is_rank0():
        callback.best_weights.take_from(point.path)
    if point.path or notes:
        notes.append(f"going on from step {point.step}" if point.path else "starting at the beginning")
    for note in notes:
        callback.progress.note(f"{job.label}: {note}")
    return point
