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
    """Return name, size and time of a file, or of all files in a folder and below; none where there is nothing.

    They tell changed data from the data read before.
    """
    within = sorted(os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names)
    found = [(file, os.stat(file)) for file in within or [str(place)] if os.path.isfile(file)]
    return tuple((file, facts.st_size, facts.st_mtime_ns) for file, facts in found)
