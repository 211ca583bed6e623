"""The report on a converted model: which of its weights are a trained model's, and which are new."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from formers.models.drift import Drift
from formers.models.layer_ranges import layer_ranges
from formers.models.weight_names import mixers_by_place, place_of

_LAYER = re.compile(r"(?<=\blayers\.)\d+(?=\.)")
"""The number of a layer within a name."""


@dataclass(frozen=True, repr=False)
class Conversion:
    """A converted model, and the origin of each of its weights and buffers. Printed, it is a report on them.

    Attributes:
        model: the new model, of the old one's class, dtype, device and mode.
        copied: names of tensors taken over as they are.
        derived: names of tensors made from an old one → how.
        fresh: names of tensors without a counterpart, which start as in a new model.
        left: names of tensors of the old model that were of no use.
        idle: lines on options without effect, as they set what weights start as that were taken over.
        positions: a line on positions whose options are others than before; empty where they are the same.
        drift: how far outputs are from those of the old model, where it was measured.
    """

    model: Any
    copied: tuple[str, ...]
    derived: dict[str, str]
    fresh: tuple[str, ...]
    left: tuple[str, ...]
    idle: tuple[str, ...] = ()
    positions: str = ""
    drift: Drift | None = None

    @property
    def caveats(self) -> str:
        """All that is new, dropped or without effect, in a few lines with names and counts; empty if nothing is."""
        lines = self._share_lines()
        if self.fresh:
            lines.append(f"new, as at the start of training: {_count(self.fresh)}: {_names(self.fresh)}")
        if self.left:
            lines.append(f"dropped from the given model: {_count(self.left)}: {_names(self.left)}")
        mixers, without = mixers_by_place(self.model.config), [name for name in self.left if name.endswith(".bias")]
        losing = {mixers[place] for name in without if (place := place_of(name)) in mixers}
        takers = sorted(mixer.name() for mixer in losing if getattr(mixer, "bias", None) is False)
        if takers:
            lines.append("biases are kept by " + ", ".join(f"{name}(bias=True)" for name in takers))
        return "\n".join([*lines, *self.idle])

    def __str__(self) -> str:
        lines = [f"copied {len(self.copied)} tensors"]
        lines += [f"derived {name}: {how}" for name, how in self.derived.items()]
        lines += [f"fresh {name}" for name in self.fresh]
        lines += [f"left out {name}" for name in self.left]
        lines = [*_alike(lines), *self.idle, self.positions, *([] if self.drift is None else [str(self.drift)])]
        return "\n".join([*filter(None, lines), *self._share_lines()])

    __repr__ = __str__

    def _share_lines(self) -> list[str]:
        """Return a line for each mixer that has new numbers: their share in all of its layers."""
        mixers = mixers_by_place(self.model.config)
        fresh, total, new = set(self.fresh), Counter[str](), Counter[str]()
        for name, tensor in self.model.state_dict().items():
            if (place := place_of(name)) in mixers:
                mixer = str(mixers[place])
                total[mixer] += tensor.numel()
                new[mixer] += tensor.numel() if name in fresh else 0
        return [f"{_percent(new[mixer] / total[mixer])} of {mixer} is new" for mixer in total if new[mixer]]


def _count(names: tuple[str, ...]) -> str:
    """Return how many tensors there are, and how many of them are biases."""
    biases = sum(name.endswith(".bias") for name in names)
    if biases == len(names):
        return "1 bias" if biases == 1 else f"{biases} biases"
    tensors = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"{tensors}, {biases} of them biases" if biases else tensors


def _names(names: Iterable[str]) -> str:
    """Return names with a count each, those that differ only in their layer as one."""
    counts = Counter(_LAYER.sub("*", name) for name in names)
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.items())


def _alike(lines: list[str]) -> list[str]:
    """Return lines with those that differ in a layer alone as one, which tells the layers."""
    alike: dict[str, list[str]] = {}
    for line in lines:
        alike.setdefault(_LAYER.sub("*", line), []).append(line)
    return [
        same[0] if len(same) == 1 else f"{line} (layers {layer_ranges([int(_LAYER.findall(one)[0]) for one in same])})"
        for line, same in alike.items()
    ]


def _percent(share: float) -> str:
    return "all" if share == 1 else f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
