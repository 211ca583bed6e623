"""Reading a text to model, and cutting it into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from formers.tasks.characters import Characters
from formers.tasks.decoding import text_of
from formers.tasks.sources import stamp
from formers.tasks.task import digest

_SHIPPED = Path(__file__).parent / "data" / "tinyshakespeare.txt"
TRAIN, VALIDATION = 0.90, 0.05  # the rest is the test split


@dataclass(frozen=True)
class CharacterText:
    """A text as numbers: the first 90 % to train on, the next 5 % to validate, the last 5 % to test."""

    characters: Characters
    train: Tensor
    validation: Tensor
    test: Tensor
    sha256: str


def read_text(path: str | None) -> str:
    """Return the text of a UTF-8 file, or Tiny Shakespeare for None. Raise if it is missing, empty or not a text."""
    file = _SHIPPED if path is None else Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"no text file at {file}; give the path of a UTF-8 text, or none for Tiny Shakespeare")
    return text_of(file.read_bytes(), file)


@lru_cache(maxsize=4)
def _split_text(path: str | None, stamped: object) -> CharacterText:
    """Return the splits of a file; `stamped` tells a changed file from the one read before."""
    text = read_text(path)
    characters = Characters.of(text)
    ids = characters.encode(text)
    return CharacterText(characters, *cut(ids), digest([text]))


def cut(ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the parts of a text (N,) to train on, to validate on and to test on."""
    first, second = int(len(ids) * TRAIN), int(len(ids) * (TRAIN + VALIDATION))
    return ids[:first], ids[first:second], ids[second:]


def load_text(path: str | None) -> CharacterText:
    """Return the splits of a text file, read once until it changes."""
    return _split_text(path, () if path is None else stamp(Path(path).expanduser()))
