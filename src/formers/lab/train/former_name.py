"""Files of a job whose arm had another name before: what decides the outcome is in their names, too, and the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from formers.lab.store.write_error import reporting_write_errors

if TYPE_CHECKING:
    from formers.lab.train.job import Job


def known_folder(own: Path) -> Path:
    """Return a job's own folder; where it is not there, the one beside it that another name of the arm has left."""
    if own.exists():
        return own
    seed_and_fingerprint = "-".join(own.name.split("-")[-2:])
    return min(own.parent.glob(f"*-{seed_and_fingerprint}"), default=own)


def take_over_checkpoints(jobs: Sequence[Job]) -> None:
    """Rename checkpoints that these jobs left under another name of their arms, so that they go on from them.

    Those of another of the jobs stay: two arms may differ in nothing but their names. Raise WriteError where it fails.
    """
    names = {job.slug for job in jobs}
    for job in jobs:
        before = known_folder(job.checkpoint_folder)
        if before.name not in names:
            with reporting_write_errors("how far the training is", before):
                os.rename(before, job.checkpoint_folder)
