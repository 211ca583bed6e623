"""Everything that `formers adapt` has measured of a model: what its page shows, and the JSON file beside it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from formers.adapt.swap_costs import Swap
from formers.adapt.swap_speed import SwapSpeed
from formers.machine.files import write_atomically

PERPLEXITY = "perplexity"
"""The quality that is measured unless it is the score of a task."""
OWN = "its own"
"""The name of the attention that a model has before anything is swapped."""


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """A plan of swaps, and what it is on text that it was not made from.

    Attributes:
        budget: as it was given.
        length: tokens that the plan's cache is counted for.
        mixers: the mixer of each layer, as text.
        state_bytes: of one row's cache.
        expected: relative rise of the perplexity, from each layer alone.
        tokens: of the text that it was measured on; 0 if it was not.
        own, planned: perplexity there, of the model as it is and with the plan.
    """

    budget: str
    length: int
    mixers: tuple[str, ...]
    state_bytes: int
    expected: float
    tokens: int = 0
    own: float | None = None
    planned: float | None = None


@dataclass(frozen=True, kw_only=True)
class SwapResults:
    """The measurements of a model, and what they depend on.

    Attributes:
        model: its name or folder.
        text: the text's name or file, or the task.
        rows, row: how many rows of how many tokens were predicted; of a task, how many texts of how many tokens.
        quality: the name of what was measured: perplexity, or a task's score, whose loss is minus the score.
        layers: of the model.
        names: mixer as text → as it was given; "" is the model's own attention.
        swaps: perplexities, as `swap_costs` returns them.
        speeds: times and memory, as `swap_speeds` returns them.
        states: mixer → length → bytes of the cache of one row, counted without data; None: it keeps no state.
        plan: None unless a budget was given.
        environment, command, date: as in a benchmark.
    """

    model: str
    text: str
    rows: int
    row: int
    layers: int
    names: dict[str, str]
    swaps: tuple[Swap, ...]
    speeds: tuple[SwapSpeed, ...] = ()
    states: dict[str, dict[int, int | None]] = field(default_factory=dict)
    plan: PlanResult | None = None
    quality: str = PERPLEXITY
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    date: str = ""

    @property
    def is_score(self) -> bool:
        """True where the quality is a task's score: the higher, the better."""
        return self.quality != PERPLEXITY

    def value(self, swap: Swap) -> float:
        """Return the perplexity of a swap, or its score."""
        return -swap.nats if self.is_score else swap.perplexity

    def ratio(self, swap: Swap) -> float:
        """Return the perplexity of a swap, or its score, relative to that of the model as it is."""
        own = self.value(self.own)
        return self.value(swap) / own if own else math.nan

    @property
    def own(self) -> Swap:
        """The model as it is."""
        return next(swap for swap in self.swaps if not swap.mixer)

    @property
    def everywhere(self) -> tuple[Swap, ...]:
        """The model as it is, and with each mixer in all of its layers."""
        return tuple(swap for swap in self.swaps if len(swap.layers) in {0, self.layers})

    @property
    def alone(self) -> tuple[Swap, ...]:
        """The swaps of one layer; none for a model of one."""
        return tuple(swap for swap in self.swaps if len(swap.layers) == 1 < self.layers)


def write_swap_results(results: SwapResults, path: Path) -> Path:
    """Write the results as JSON, all of it or nothing, and return `path`."""
    tree = asdict(results)
    for swap in tree["swaps"]:
        swap["nats"] = None if swap["failure"] else swap["nats"]  # JSON has no infinite numbers
    return write_atomically(path, json.dumps(tree, indent=1))


def read_swap_results(path: Path) -> SwapResults:
    """Return what `write_swap_results` has written. Raise ValueError for a file that is something else."""
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        swaps = tuple(_swap(line) for line in tree.pop("swaps"))
        speeds = tuple(SwapSpeed(**line) for line in tree.pop("speeds"))
        states = {m: {int(length): size for length, size in by.items()} for m, by in tree.pop("states").items()}
        plan = tree.pop("plan")
        plan = plan and PlanResult(**plan | {"mixers": tuple(plan["mixers"])})
        return SwapResults(**tree, swaps=swaps, speeds=speeds, states=states, plan=plan)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds no results of formers adapt: {error}") from error


def _swap(line: dict[str, Any]) -> Swap:
    nats = float("inf") if line["nats"] is None else line["nats"]
    return Swap(**line | {"layers": tuple(line["layers"]), "nats": nats})
