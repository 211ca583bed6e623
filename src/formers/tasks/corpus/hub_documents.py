"""Texts of a data set of the Hugging Face hub, streamed through the library `datasets`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from formers.machine.hub import hub_trouble
from formers.tasks.splits import Side

_SIDES: dict[str, Side] = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation"}
_SIDES |= {"test": "test"}
_HELD_OUT_SHARE = 10
"""A split that is held out is read up to this part of what is read of the training split."""


def hub_documents(name: str, column: str, most_bytes: int) -> Iterator[tuple[Side, str]]:
    """Yield the split and text of the first rows of each split of a data set: `owner/name`, or `owner/name/subset`.

    Of `train` so many bytes of UTF-8 are read at most, of `validation` and `test` a tenth of it; other splits are left
    out. Rows come over the network as they are needed, and are not kept.

    Raises:
        ImportError: without the library `datasets`.
        OSError: where the hub is out of reach.
        ValueError: for a data set without a split of these names, or without the column; with those it has.
    """
    if find_spec("datasets") is None:
        raise ImportError(
            f"reading {name} from the hub needs the library datasets: pip install 'formers[corpora]'; or download its "
            "texts and give path= of the folder"
        )
    owner, _, rest = name.partition("/")
    title, _, subset = rest.partition("/")
    repo = f"{owner}/{title}" if title else owner
    if (trouble := hub_trouble()) is not None:
        raise OSError(f"{name} cannot be had from the hub ({trouble}); download its texts and give path= of the folder")
    splits = import_module("datasets").load_dataset(repo, subset or None, streaming=True)
    known = {split: _SIDES[split] for split in splits if split in _SIDES}
    if not known:
        raise ValueError(f"{name} has no split {', '.join(_SIDES)}; it has {', '.join(splits) or 'none'}")
    for split, side in known.items():
        most = most_bytes if side == "train" else most_bytes // _HELD_OUT_SHARE
        yield from ((side, text) for text in _texts(splits[split], column, most, f"{name}, {split}"))


def _texts(rows: Iterable[dict[str, Any]], column: str, most: int, origin: str) -> Iterator[str]:
    """Yield the texts of some rows until they have so many bytes."""
    size = 0
    for number, row in enumerate(rows, 1):
        if column not in row:
            raise ValueError(f"{origin}, row {number}: no column {column!r}; it has {', '.join(row)}; give column=…")
        text = row[column]
        if not isinstance(text, str):
            raise ValueError(f"{origin}, row {number}: {column!r} must be a text, but it is {type(text).__name__}")
        yield text
        size += len(text.encode())
        if size >= most:
            return
