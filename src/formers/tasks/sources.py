"""Finding a user's copy of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_VARIABLE = "FORMERS_DATA"
"The environment variable that names a folder of data sets."
HUB = "hub"
"The path that means: download it from the Hugging Face hub."


def locate(path: str | None, names: Sequence[str], how: str) -> Path:
    """Return the file or folder at `path`, or the first of `names` in the folder that `FORMERS_DATA` names.

    Raises:
        FileNotFoundError: saying where it looked, and `how` to get the data.
    """
    home = os.environ.get(_VARIABLE)
    if path is not None:
        places = [Path(path).expanduser()]
    else:
        places = [Path(home).expanduser() / name for name in names] if home else []
    for place in places:
        if place.exists():
            return place
    looked = f"looked at {', '.join(map(str, places))}" if places else f"no path is given and {_VARIABLE} is not set"
    raise FileNotFoundError(f"no data: {looked}. {how}")


def stamp(place: Path) -> tuple[tuple[str, int, int], ...]:
    """Return names, sizes and times of the files, one folder deep: they tell changed data from the data read before."""
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
