"""Folders of studies, as commands name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formers.lab.store.records import Results


def chosen_results(given: list[Path] | None) -> tuple[dict[str, Results], list[Path]]:
    """Return name → results of the given studies, or of the newest one, and their folders.

    A study is a folder, or the `report.json` that it left, by which a report is drawn again without its folder.

    Raises:
        FileNotFoundError: for a folder or a file that does not exist, and where no study is.
        ValueError: for a file with something else in it, and as `chosen`.
    """
    from formers.lab.report.json_file import load
    from formers.lab.report.stored_results import stored_results

    files = [path for path in given or () if path.suffix == ".json"]
    if missing := [path for path in files if not path.is_file()]:
        raise FileNotFoundError(f"there is no file {missing[0]}")
    if pages := [path for path in given or () if path.suffix in (".html", ".htm") and path.is_file()]:
        raise ValueError(
            f"{pages[0]} is a page, which holds no rows; give the study's folder, or the report.json beside the page"
        )
    folders = [path for path in given or () if path not in files]
    studies = chosen(folders) if folders or not files else {}
    named = {str(file): load(file) for file in files}
    return {name: stored_results(folder) for name, folder in studies.items()} | named, [*studies.values()]


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
