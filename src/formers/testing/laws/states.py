"""Law 14: a state belongs to its mixer.

Another mixer's state raises and names both types, an empty chunk leaves a state as it is, and a state made in inference
mode goes on outside it.

Inputs: one state of each type in this library and one of none; chunks without tokens, without and with padding; 21
tokens in inference mode, then 19 outside it, one by one and at once with gradients.

Exempt: parts without the ability `streaming`, which refuse any state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from formers.mixers import (
    AdaptiveSpan,
    Dense,
    Identity,
    Linear,
    Mixer,
    Pool,
    SlidingDense,
    Softmax,
    Sparse,
    WindowedLinear,
)
from formers.part import Part, Site, State
from formers.testing.compare import assert_same, assert_zero
from formers.testing.harness import LENGTH, SITE, abilities, build, padding_mask, tokens

_OTHERS: tuple[Mixer, ...] = (
    Softmax(),
    Linear(),
    Dense(),
    Pool(),
    Sparse(),
    AdaptiveSpan(),
    WindowedLinear(),
    SlidingDense(),
    Identity(),
)
"""Mixers of this library whose states are tried on a part: one for each type of state."""


@dataclass(frozen=True)
class _UnknownState(State):
    """The state of no mixer, with what every state has."""


def foreign_states_raise(part: Part, site: Site = SITE) -> None:
    """The state of another mixer raises `TypeError` that names both types; it is never dropped in silence."""
    module, x = build(part, causal=True, site=site), tokens(width=site.width)
    with torch.no_grad():
        own = _types_of_states(module, x, f"{part}")
        plain = Site(width=site.width, heads=site.heads, causal=True, context_length=site.context_length)
        states = [build(other, causal=True, site=plain)(x)[1] for other in _OTHERS]
        for state in [_UnknownState(torch.full((len(x),), LENGTH)), *states]:
            if type(state) not in own:
                _refuses(module, x, state, own, f"{part}")


def _types_of_states(module: nn.Module, x: Tensor, what: str) -> set[type[State]]:
    """Return the types of the states after few tokens, after many, and after more."""
    few, many = module(x[:, :2])[1], module(x)[1]
    states = [few, many, module(x[:, :1], few)[1]]
    assert all(isinstance(state, State) for state in states), f"{what}: returned {states} instead of states"
    return {type(state) for state in states}


def empty_chunks_change_nothing(part: Part, site: Site = SITE) -> None:
    """A chunk without tokens gives no outputs and leaves the state as it is, with padding too."""
    module = build(part, causal=True, site=site)
    for mask_bl in (None, padding_mask()) if "padding" in abilities(part) else (None,):
        x, more = tokens(width=site.width), tokens(length=9, width=site.width, seed=5)
        how = f"{part}{'' if mask_bl is None else ', padded'}"
        with torch.no_grad():
            _, state = module(x, mask_bl=mask_bl)
            nothing, after = module(x[:, :0], state, mask_bl=None if mask_bl is None else mask_bl[:, :0])
            assert nothing.shape == x[:, :0].shape, (
                f"{how}: a chunk without tokens gives outputs {tuple(nothing.shape)}"
            )
            assert type(after) is type(state), f"{how}: a chunk without tokens turns the state into {after!r}"
            want = module(more, state)[0]
            assert_zero(
                module(more, after)[0] - want, f"{how}: difference that a chunk without tokens makes to the next"
            )


def states_leave_inference_mode(part: Part, site: Site = SITE) -> None:
    """A state made in inference mode goes on outside it, with gradients or without."""
    module, x = build(part, causal=True, site=site), tokens(length=40, width=site.width)
    with torch.inference_mode():
        _, state = module(x[:, :20])
        _, state = module(x[:, 20:21], state)
    what = f"{part}: what follows a state of inference mode"
    whole = module(x)[0].detach()
    try:
        with torch.no_grad():
            without = _in_steps(module, x, state)
        y, _ = module(x[:, 21:], state)
        if y.requires_grad:
            y.sum().backward()
    except RuntimeError as error:
        raise AssertionError(f"{what} crashes: {error}") from error
    assert_same(without, whole[:, 21:], what)
    assert_same(y.detach(), whole[:, 21:], f"{what}, with gradients")


def _in_steps(module: nn.Module, x: Tensor, state: Any) -> Tensor:
    ys = []
    for i in range(21, x.shape[1]):
        y, state = module(x[:, i : i + 1], state)
        ys.append(y)
    return torch.cat(ys, 1)


def _refuses(module: nn.Module, x: Tensor, state: Any, own: set[type[State]], what: str) -> None:
    given, expected = type(state).__name__, " or ".join(sorted(kind.__name__ for kind in own))
    try:
        module(x[:, :1], state)
    except TypeError as error:
        if all(name in str(error) for name in (given, *(kind.__name__ for kind in own))):
            return
        raise AssertionError(f"{what} refuses a {given}, but names not both it and {expected}: {error}") from None
    except Exception as error:
        raise AssertionError(f"{what} crashes on a {given} instead of refusing it: {error!r}") from error
    raise AssertionError(f"{what} goes on from a {expected}, but took a {given} without a word")
