"""Documents of a corpus as training, validation and test texts."""

from __future__ import annotations

from collections.abc import Sequence

from formers.tasks.corpus.documents import Document
from formers.tasks.splits import Side, side_of

_MANY = 100
"""From so many documents on each is in one split; fewer are each cut."""
_SHARE = 20
"""One document, or one part of each, in this many validates, another tests."""
_HELD_OUT: tuple[Side, ...] = ("validation", "test")
Splits = dict[Side, list[str]]


def split_documents(documents: Sequence[Document]) -> Splits:
    """Return the texts of each split: about 90 % to train on, 5 % to validate, 5 % to test.

    Published splits stay what they are; one of the held-out ones that is missing is taken from the training documents.
    Otherwise 100 documents or more are divided by a checksum of each, so that none is ever in two splits; of fewer,
    the first 90 % of each are trained on, the next 5 % validate, and the last 5 % test.
    """
    published: Splits = {"train": [], "validation": [], "test": []}
    for document in documents:
        published[document.side or "train"].append(document.text)
    missing = tuple(side for side in _HELD_OUT if not published[side])
    if not published["train"] or len(missing) == len(_HELD_OUT):
        return _divided([document.text for document in documents], _HELD_OUT)
    return published | _divided(published["train"], missing)


def _divided(texts: Sequence[str], held_out: Sequence[Side]) -> Splits:
    """Return training texts, and those taken from them for the other splits."""
    splits: Splits = {"train": [], **{side: [] for side in held_out}}
    for text in texts if len(texts) >= _MANY else ():
        side = side_of(text, _SHARE)
        splits[side if side in splits else "train"].append(text)
    for text in texts if len(texts) < _MANY else ():
        bounds = [int(len(text) * (1 - i / _SHARE)) for i in range(len(held_out), -1, -1)]
        for side, first, last in zip(splits, [0, *bounds], bounds, strict=False):
            splits[side].extend([text[first:last]] if last > first else [])
    return splits
