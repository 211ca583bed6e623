"""The study that was run last, of those in one folder: known by numbers, since clocks may be wrong."""

from __future__ import annotations

from pathlib import Path

from formers.lab.store.order_number import order_number
from formers.lab.store.write_error import reporting_write_errors
from formers.machine.files import write_atomically

_FILE = ".opened"


def number_opening(folder: Path) -> None:
    """Give the study in `folder` a larger number than any study beside it has. Raise WriteError where that fails."""
    with reporting_write_errors("the study's number", folder):
        write_atomically(folder / _FILE, f"{1 + max(map(_number, _studies(folder.resolve().parent)), default=0)}\n")


def newest_study(home: Path) -> Path:
    """Return the folder of the study in `home` that was run last.

    Raises:
        FileNotFoundError: where there is none.
        ValueError: where there are several, and none has a number: they are of a version that gave them none.
    """
    found = _studies(home)
    if not found:
        raise FileNotFoundError(f"there is no study in {home}/; name a folder, or run `formers ablate` first")
    last = max(map(_number, found))
    newest = [folder for folder in found if _number(folder) == last]
    if len(newest) > 1:
        raise ValueError(f"which of these studies is the newest is not known; name one: {', '.join(map(str, newest))}")
    return newest[0]


def _studies(home: Path) -> list[Path]:
    return sorted(path.parent for path in home.glob("*/study.yaml"))


def _number(folder: Path) -> int:
    """Return the number of a study; 0 for one that has none."""
    try:
        text = (folder / _FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return order_number(text)
