"""A plan of swaps under a budget: which layers take which mixer."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from formers.adapt.attention_core import attention_core, shares_keys
from formers.adapt.own_window import in_window, own_windows
from formers.adapt.swap_costs import Swap
from formers.mixers import Mixer, Softmax
from formers.mixers.context import Context, count_tokens
from formers.mixers.qkv import QKV
from formers.part import Unsupported


@dataclass(frozen=True)
class SwapPlan:
    """The mixer of each layer, and what it is expected to be.

    Attributes:
        mixers: one for each layer; `softmax()` where it stays as it is.
        state_bytes: what a row's cache holds at the length that the plan is for.
        added_nats: the sum of what each swap alone adds to −log p of a token; measure it on other text.
    """

    mixers: tuple[Mixer, ...]
    state_bytes: int
    added_nats: float


@dataclass(frozen=True)
class SwapBudget:
    """What a plan is for: as little loss as its cache may have bytes, or as small a cache as it may lose.

    Attributes:
        length: tokens that are remembered.
        state_bytes: what all layers together may hold for one row; None where the loss is given.
        added_nats: by how much −log p of a token may rise; None where the bytes are given.
    """

    length: int
    state_bytes: int | None = None
    added_nats: float | None = None

    @classmethod
    def parse(cls, text: str) -> SwapBudget:
        """Return the budget that `state 1MB at 8k`, `1MB at 8k` or `+2% perplexity at 8k` means.

        8k is 8,192 tokens. A loss may leave the length out: then caches are compared at 8,192 tokens.
        """
        found = _BUDGET.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"--budget is {text!r}; expected like '1MB at 8k' (KB, MB, GB) or '+2% perplexity at 8k'")
        length = int(found["length"]) * (1024 if found["thousands"] else 1) if found["length"] else _USUAL_LENGTH
        if found["percent"]:
            return cls(length, added_nats=math.log1p(float(found["percent"]) / 100))
        return cls(length, state_bytes=int(float(found["size"]) * 1024 ** ("KMG".index(found["unit"]) + 1)))


_BUDGET = re.compile(
    r"(?:(?:state )?(?P<size>\d+(?:\.\d+)?) ?(?P<unit>[KMG])B(?= at )|\+(?P<percent>\d+(?:\.\d+)?)% perplexity)"
    r"(?: at (?P<length>[1-9]\d{0,8})(?P<thousands>k?))?"
)
_USUAL_LENGTH = 8192
"""Tokens at which the caches of a plan are compared where its budget is a loss and names no length."""


def plan_swaps(swaps: Sequence[Swap], state_bytes: Mapping[str, int], budget: SwapBudget) -> SwapPlan:
    """Return which layers take which mixer under a budget.

    From the whole model on, the swap is taken next that saves most bytes for each nat that it adds alone. The sum of
    these nats is what the plan expects, which is right as far as layers do not depend on each other: measure it.

    Args:
        swaps: what `swap_costs` returned: the model as it is, and each layer alone with each mixer.
        state_bytes: mixer as text → bytes of one layer's state for one row at the budget's length, also for
            "softmax()", as `state_bytes_per_layer` gives them.

    Raise ValueError if no plan holds so few bytes.
    """
    own = next(swap.nats for swap in swaps if not swap.mixer)
    alone = [swap for swap in swaps if len(swap.layers) == 1]
    chosen = [str(Softmax())] * (1 + max((swap.layers[0] for swap in alone), default=-1))
    nats = [0.0] * len(chosen)
    while budget.state_bytes is None or sum(state_bytes[mixer] for mixer in chosen) > budget.state_bytes:
        best = _next_swap(alone, own, chosen, nats, state_bytes, budget.added_nats)
        if best is None and budget.state_bytes is None:
            break
        if best is None:
            smallest = sum(state_bytes[mixer] for mixer in chosen)
            raise ValueError(
                f"the smallest plan holds {smallest:,} bytes a row after {budget.length:,} tokens, and "
                f"{budget.state_bytes:,} were asked for; give mixers with smaller states, or a larger budget"
            )
        (layer,) = best.layers
        chosen[layer], nats[layer] = best.mixer, best.nats - own
    total = sum(state_bytes[mixer] for mixer in chosen)
    return SwapPlan(tuple(Mixer.parse(mixer) for mixer in chosen), total, sum(nats))


def _next_swap(
    alone: Sequence[Swap],
    own: float,
    chosen: Sequence[str],
    nats: Sequence[float],
    state_bytes: Mapping[str, int],
    most_nats: float | None,
) -> Swap | None:
    """Return the swap that saves most bytes for each nat it adds; None if none saves any within the limit."""
    best, most = None, 0.0
    for swap in alone:
        (layer,) = swap.layers
        saved = state_bytes[chosen[layer]] - state_bytes[swap.mixer]
        added = swap.nats - own - nats[layer]
        worth = saved / max(added, 1e-9)
        if saved > 0 and worth > most and (most_nats is None or sum(nats) + added <= most_nats):
            best, most = swap, worth
    return best


def state_bytes_of_layers(model: PreTrainedModel, mixer: Mixer, length: int) -> int:
    """Return the bytes of the states of all layers with this mixer, each within its own window; else as below."""
    windows = Counter(own_windows(model.config))
    return sum(count * _state_bytes(model, in_window(mixer, window), length) for window, count in windows.items())


def state_bytes_per_layer(model: PreTrainedModel, mixer: Mixer, length: int) -> int:
    """Return the bytes of one layer's state after `length` tokens of one row, in the model's precision.

    Nothing is computed. Raise Unsupported for a mixer that keeps none, and for a model some of whose layers have a
    window of their own, so that states differ from layer to layer.
    """
    windows = set(own_windows(model.config))
    if len(windows) > 1:
        raise Unsupported(
            "some layers of the model have a window of their own, and others not, so that a layer's state has no one "
            "size to plan with; measure without a budget"
        )
    return _state_bytes(model, in_window(mixer, windows.pop()), length)


def _state_bytes(model: PreTrainedModel, mixer: Mixer, length: int) -> int:
    if "streaming" not in mixer.abilities:
        raise Unsupported(mixer.no_state())
    config = model.config
    heads = config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    groups = (getattr(config, "num_key_value_heads", None) or heads) if shares_keys(mixer) else heads
    core = attention_core(mixer, heads=heads, head_width=head_width, causal=True, layer=0, longest=1 << 20)
    like = {"device": "meta", "dtype": model.dtype}
    q, k, v = (torch.empty(1, size, length, head_width, **like) for size in (heads, groups, groups))
    x_bl1 = torch.empty(1, length, 1, **like)
    with torch.no_grad():
        _, state = core.attend(QKV(q, k, v), Context(x_bl1, count_tokens(x_bl1, None, None) - 1))
    assert state is not None
    return state.nbytes
