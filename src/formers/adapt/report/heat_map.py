"""What each layer alone costs, as a picture in a page: a row for each mixer, a cell for each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from formers.adapt.swap_costs import Swap
from formers.plot.number_format import significant

_STEP, _CELL, _TOP = 26, 24, 22
"""From cell to cell, the side of one, and the room for the numbers of the layers above."""
_LETTER = 7
"""Width of a letter."""
_LEAST = 1e-3
"""Nats that are drawn as nothing."""


@dataclass(frozen=True)
class HeatCell:
    """A cell: its place, how dark it is from 0 to 1, and its text under the pointer."""

    x: int
    y: int
    darkness: float
    text: str


@dataclass(frozen=True)
class HeatMap:
    """Cells with the numbers of the layers above them, (x, text), and the names of the rows left of them, (y, text)."""

    width: int
    height: int
    left: int
    cell: int
    columns: tuple[tuple[int, str], ...]
    rows: tuple[tuple[int, str], ...]
    cells: tuple[HeatCell, ...]
    darkest: str


def heat_map(alone: Sequence[Swap], own: Swap, names: dict[str, str], unit: str) -> HeatMap | None:
    """Return the map of the rise of the loss where one layer alone is swapped, by its logarithm; None without any."""
    if not alone:
        return None
    mixers = list(dict.fromkeys(swap.mixer for swap in alone))
    layers = sorted({swap.layers[0] for swap in alone})
    finite = [swap.nats - own.nats for swap in alone if math.isfinite(swap.nats)]
    most = max([*finite, 2 * _LEAST])
    left = 8 + _LETTER * max(len(names.get(mixer, mixer)) for mixer in mixers)
    cells = [
        HeatCell(
            left + _STEP * layers.index(swap.layers[0]),
            _TOP + _STEP * mixers.index(swap.mixer),
            _darkness(swap.nats - own.nats, most),
            f"layer {swap.layers[0]}, {names.get(swap.mixer, swap.mixer)}: {_rise(swap, own, unit)}",
        )
        for swap in alone
    ]
    return HeatMap(
        width=left + _STEP * len(layers),
        height=_TOP + _STEP * len(mixers),
        left=left,
        cell=_CELL,
        columns=tuple((left + _STEP * i + _CELL // 2, str(layer)) for i, layer in enumerate(layers)),
        rows=tuple((_TOP + _STEP * i + _CELL // 2, names.get(mixer, mixer)) for i, mixer in enumerate(mixers)),
        cells=tuple(cells),
        darkest=f"{significant(most)} {unit.partition(' ')[0]}".rstrip(),
    )


def _darkness(rise: float, most: float) -> float:
    """Return the logarithm of a rise between `_LEAST`, as 0, and `most`, as 1."""
    return round(math.log(min(max(rise, _LEAST), most) / _LEAST) / math.log(most / _LEAST), 3)


def _rise(swap: Swap, own: Swap, unit: str) -> str:
    return swap.failure or f"{swap.nats - own.nats:+.4f} {unit}".rstrip().replace("-", "−")
