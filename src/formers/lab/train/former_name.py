"""Files of a job whose arm had another name before: what decides the outcome is in their names, too, and the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from formers.lab.store.write_error import reporting_write_errors


def known_folder(own: Path) -> Path:
    """Return a job's own folder; where it is not there, the one beside it that another name of the arm has left."""
    if own.exists():
        return own
    seed_and_fingerprint = "-".join(own.name.split("-")[-2:])
    return min(own.parent.glob(f"*-{seed_and_fingerprint}"), default=own)


def take_over_checkpoints(folders: Sequence[Path]) -> None:
    """Rename checkpoints that jobs left under another name of their arms to these folders, so that they go on there.

    Another one of the folders stays: two arms may differ in nothing but their names. Raise WriteError where it fails.
    """
    for own in folders:
        before = known_folder(own)
        if before not in folders:
            with reporting_write_errors("how far the training is", before):
                os.rename(before, own)
