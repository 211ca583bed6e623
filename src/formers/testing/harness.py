"""The harness that every law puts a part into: where it is built, what it may demand, and the inputs it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from formers.computation import Computation
from formers.ffn import Ffn
from formers.memory import Memory
from formers.mixers import FeatureMap, Mixer
from formers.norms import Norm
from formers.part import ABILITIES, Part, Site
from formers.positions import Position
from formers.residuals import Residual
from formers.testing.hand_counts import has_hand_count
from formers.testing.hosts import HOSTS, axis_of, mixer_of
from formers.testing.references import has_reference

_Module = TypeVar("_Module", bound=nn.Module)

SITE = Site(width=24, heads=3, causal=False, context_length=128)
"""The site of laws that are told no other: small, without a position, and no two sizes alike."""
BATCH, LENGTH = 2, 77
"""Sizes of the laws' inputs: the length is a multiple of no block."""
_ABSOLUTE: dict[type[Part], frozenset[str]] = {
    Position: frozenset({"order_blind"}),
    Computation: frozenset({"order_blind", "relative", "static"}),
}
"""Axis → abilities of the host that a part of it may take away: it may encode positions, or have states of its own."""


def abilities(part: Part) -> frozenset[str]:
    """Return what the laws may demand of the part: what its host can do, its axis' name, and `reference`.

    `reference` is a part with an independent form of the whole, in `formers.testing.references`; `hand_count` a mixer
    whose operations `formers.testing.hand_counts` has. `state_gradients`: gradients pass through its states;
    `stopped_gradients`: none do, as through a memory.
    """
    axis = axis_of(part)
    can = mixer_of(part).abilities & (part.abilities if isinstance(part, Memory) else ABILITIES.keys())
    own = {axis.name()} | ({"reference"} if has_reference(part) else set())
    own |= {"stopped_gradients" if isinstance(part, Memory) and part.stops_gradients else "state_gradients"}
    if axis is Mixer:
        return can | own | ({"hand_count"} if has_hand_count(part) else set())
    if isinstance(part, Ffn) and part.mixes_tokens:
        can = can - {"streaming", "trim", "static", "order_blind"}
    can = can - {"qk_position", "score_position", "weight_position"} | own
    return can - _ABSOLUTE.get(axis, frozenset())


def build(
    part: Part,
    *,
    causal: bool,
    site: Site = SITE,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> nn.Module:
    """Return the part in its host, in eval mode, with parameters away from any special start."""
    return unsettled(lambda: HOSTS[axis_of(part)](part, replace(site, causal=causal)), dtype=dtype, seed=seed)


def unsettled(make: Callable[[], _Module], *, dtype: torch.dtype = torch.float64, seed: int = 0) -> _Module:
    """Return a module in eval mode, with parameters away from any special start."""
    with torch.random.fork_rng(devices=[]):
        seed_cpu(seed)
        module = make()
        _unsettle(module)
    return module.to(dtype).eval()


def seed_cpu(seed: int) -> None:
    """Seed what is drawn on the CPU, where laws build and run: in a microsecond.

    `torch.manual_seed` takes 200, and keeps a stack trace for each kind of device that is not in use yet.
    """
    torch.default_generator.manual_seed(seed)


@torch.no_grad()
def _unsettle(module: nn.Module) -> None:
    """Move parameters away from the zeros and ones they may start with, where a fault would not show."""
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if not (isinstance(owner, nn.Linear) and name == "weight"):
                parameter.add_(0.3 * torch.randn_like(parameter))


def directions(part: Part) -> list[bool]:
    """Return the values of `causal` that the part can be built with."""
    can = abilities(part)
    return [causal for causal, ability in ((True, "causal"), (False, "bidirectional")) if ability in can]


def directions_and_padding(part: Part, *, every: bool = False) -> list[tuple[bool, bool]]:
    """Return each direction once, with padding in one of them; for mixers `every` one with and without.

    A mixer of one direction has both with it. What looks at each token alone leaves both to its host's mixer.
    """
    ways, masked = directions(part), (True, False) if "padding" in abilities(part) else (False,)
    if mixes_nothing(part) or (isinstance(part, FeatureMap) and not part.exponential):
        return [(ways[0], masked[0])]
    if axis_of(part) is Mixer and (every or len(ways) == 1):
        return [(causal, padded) for causal in ways for padded in masked]
    return [(causal, masked[i % len(masked)]) for i, causal in enumerate(ways)]


def mixes_nothing(part: Part) -> bool:
    """Return whether the part looks at each token alone, and leaves positions and padding to its host's mixer."""
    return isinstance(part, (Norm, Residual)) or (isinstance(part, Ffn) and not part.mixes_tokens)


def tokens(
    batch: int = BATCH,
    length: int = LENGTH,
    width: int = SITE.width,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Return hidden states drawn from N(0, 1), (B, L, D)."""
    drawn = torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(dtype)


def output_with_memory(part: Part, module: nn.Module, x_bld: Tensor, most: int | None = None) -> Tensor:
    """Return the module's output for tokens; of a memory, after as many others as it takes to fill it, or `most`."""
    state = None
    if isinstance(part, Memory) and part.carried:
        whole = part.tokens(SITE.context_length)
        count = whole if most is None else min(most, whole)
        before = tokens(len(x_bld), count, x_bld.shape[2], seed=9, dtype=x_bld.dtype)
        for segment in before.split(256, 1):
            _, state = module(segment, state)
    y_bld: Tensor = module(x_bld, state)[0]
    return y_bld


def silences_padding(part: Part) -> bool:
    """Return whether the host takes in no padding at all. In one with norms and feed-forwards, padding stays in its
    row."""
    return axis_of(part) in (Mixer, FeatureMap, Position)


def padding_mask(batch: int = BATCH, length: int = LENGTH) -> Tensor:
    """Return a mask with padding on the left of the first row, and inside and on the right of the others; (B, L)
    bool."""
    mask_bl = torch.ones(batch, length, dtype=torch.bool)
    mask_bl[0, : length // 5] = False
    mask_bl[1:, length // 3 : length // 2] = False
    mask_bl[1:, -(length // 6) :] = False
    return mask_bl
