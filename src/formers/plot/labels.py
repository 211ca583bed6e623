"""Names beside marks, moved apart so that they can be read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from formers.plot.geometry import XY, Box, box_around

_LETTER, _HEIGHT = 7.6, 16.0
"Roughly, in chart units, at the larger size which a phone gets."
_MOST = 100
"Labels in one chart."


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text at a point of its base line: the beginning, middle or end, as SVG's text-anchor `anchor` has it."""

    x: float
    y: float
    anchor: str
    text: str


def place_labels(
    marks: Sequence[tuple[str, XY]],
    frame: Box,
    reserved: Sequence[Box],
    avoided: Sequence[Box] = (),
    shorter: Mapping[str, str] | None = None,
) -> dict[str, Label]:
    """Return text → label, beside its mark if it fits, else a little above or below; none where no place is free.

    Args:
        marks: (text, place of its mark), the most important first. The first hundred are labelled.
        frame: labels stay within it.
        reserved: never covered.
        avoided: covered only where there is no other place.
        shorter: text → what to write where there is no place for it.
    """
    taken = _Boxes([*reserved, *(box_around(mark, 5) for _, mark in marks)])
    better_free = _Boxes(avoided)
    placed: dict[str, Label] = {}
    for text, (x, y) in marks[:_MOST]:
        for written in dict.fromkeys((text, (shorter or {}).get(text, text))):
            places = (pair for pair in _candidates(written, x, y, frame) if _within(pair[1], frame))
            if found := [pair for pair in places if taken.leave_free(pair[1])]:
                placed[text], box = next((pair for pair in found if better_free.leave_free(pair[1])), found[0])
                taken.add(box)
                break
    return placed


def box_before(x: float, y: float, text: str) -> Box:
    """Return the box that a text covers which ends at `x` on the base line `y`."""
    return (x - _LETTER * len(text), y - _HEIGHT + 4, x, y + 4)


def boxes_along(points: Sequence[XY]) -> list[Box]:
    """Return small boxes that cover the lines between `points`."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        pieces = max(1, round(math.hypot(x1 - x0, y1 - y0) / 4))
        for i in range(pieces + 1):
            x, y = x0 + (x1 - x0) * i / pieces, y0 + (y1 - y0) * i / pieces
            boxes.append(box_around((x, y), 1))
    return boxes


def _candidates(text: str, x: float, y: float, frame: Box) -> list[tuple[Label, Box]]:
    """Return places right and left of the mark, level or a little off, then below and above, shifted into the frame."""
    width, half = _LETTER * len(text), _HEIGHT / 2
    found: list[tuple[Label, Box]] = []
    for lift in (0.0, -12.0, 12.0):
        line = y + lift
        right, left = x + 11, x - 11
        found.append(
            (Label(x=right, y=line + 4, anchor="start", text=text), (right, line - half, right + width, line + half))
        )
        found.append(
            (Label(x=left, y=line + 4, anchor="end", text=text), (left - width, line - half, left, line + half))
        )
    middle = min(max(x, frame[0] + width / 2), frame[2] - width / 2)
    for line in (y + 16, y - 16):
        box = (middle - width / 2, line - half, middle + width / 2, line + half)
        found.append((Label(x=middle, y=line + 4, anchor="middle", text=text), box))
    return found


class _Boxes:
    """Boxes that are asked many times whether they leave another one free."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._all = np.array(boxes, dtype=float).reshape(-1, 4)

    def add(self, box: Box) -> None:
        self._all = np.vstack([self._all, box])

    def leave_free(self, box: Box) -> bool:
        left, top, right, bottom = self._all.T
        return not ((box[2] > left) & (right > box[0]) & (box[3] > top) & (bottom > box[1])).any()


def _within(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]
