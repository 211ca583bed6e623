"""Folders of studies, as commands name them."""

from __future__ import annotations

from pathlib import Path


def chosen(folders: list[Path] | None) -> dict[str, Path]:
    """Return name → folder of the given studies, or of the newest one. Folders of one name go by their whole path.

    Raises:
        FileNotFoundError: for a folder that does not exist, and where no study is.
    """
    given = folders or [_newest()]
    for folder in given:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    short = [folder.resolve().name for folder in given]
    unique = len(set(short)) == len({folder.resolve() for folder in given})
    return dict(zip(short if unique else map(str, given), given, strict=True))


def _newest() -> Path:
    """Return the folder of the study that was touched last, of those in the usual place."""
    from formers.lab.study.study import STUDIES_FOLDER

    found = [path.parent for path in STUDIES_FOLDER.glob("*/study.yaml")]
    if not found:
        raise FileNotFoundError(f"there is no study in {STUDIES_FOLDER}/; name a folder, or run `formers ablate` first")
    return max(found, key=lambda folder: max(path.stat().st_mtime for path in folder.iterdir()))
