"""Folders of studies, as commands name them."""

from __future__ import annotations

from pathlib import Path


def chosen(folders: list[Path] | None) -> dict[str, Path]:
    """Return name → folder of the given studies, or of the newest one. Folders of one name go by their whole path.

    Raises:
        FileNotFoundError: for a folder that does not exist, and where no study is.
        ValueError: where no folder is given, and which one is the newest is not known.
    """
    from formers.lab.study import newest, study

    given = folders or [newest.newest_study(study.STUDIES_FOLDER)]
    for folder in given:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    short = [folder.resolve().name for folder in given]
    unique = len(set(short)) == len({folder.resolve() for folder in given})
    return dict(zip(short if unique else map(str, given), given, strict=True))
