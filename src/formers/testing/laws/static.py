"""Law 4, on states of a fixed size: steps from them equal steps from states that grow.

A state made static has the same tensors' shapes after every single token, gives the same outputs as the growing one,
also for padding and for rows in another order, and goes on with several tokens at once. Each state remains a value.

Inputs: beginnings of 1 and of 40 tokens, without and with padding; 6 single tokens, of which one is padding in a row.

Exempt: parts without the ability `static`, which refuse it.
"""

from __future__ import annotations

import torch
from torch import nn

from formers.mixers import MixerModule
from formers.part import Part, Site, State, Unsupported
from formers.testing.compare import assert_same
from formers.testing.harness import SITE, abilities, build, padding_mask, tokens

_STEPS = 6


def static_steps_equal_growing_ones(part: Part, site: Site = SITE) -> None:
    """Single tokens after a static state give the outputs that they give after a growing one, in the same shapes.

    Without the ability `static` a mixer refuses to make one.
    """
    module = build(part, causal=True, site=site)
    with torch.no_grad():
        if "static" not in abilities(part):
            _refuses(module, site.width, f"{part}")
            return
        for length in (1, 40):
            for padded in (False, True) if "padding" in abilities(part) and length > 1 else (False,):
                how = f"{part} after {length} tokens{', padded' if padded else ''}"
                _steps_agree(module, length, site.width, padded, how)


def _steps_agree(module: nn.Module, length: int, width: int, padded: bool, what: str) -> None:
    x, more = tokens(length=length, width=width), tokens(length=_STEPS, width=width, seed=5)
    mask_bl = padding_mask(len(x), length) if padded else None
    step_mask_bl = torch.ones(more.shape[:2], dtype=torch.bool)
    step_mask_bl[0, _STEPS // 2] = not padded
    _, begun = module(x, mask_bl=mask_bl)
    state, grown = _mixer(module).static_state(begun, length + _STEPS + 5), begun
    shapes = [t.shape for t in state.tensors()]
    for i in range(_STEPS):
        step = more[:, i : i + 1], step_mask_bl[:, i : i + 1] if padded else None
        if i == _STEPS - 2:
            rows = torch.tensor([1, 0])
            state, grown = state.reorder(rows), grown.reorder(rows)
        before = state
        y, state = module(step[0], state, mask_bl=step[1])
        want, grown = module(step[0], grown, mask_bl=step[1])
        real = slice(None) if step[1] is None else step[1]
        assert_same(y[real], want[real], f"{what}: token {i} after a static state")
        assert [t.shape for t in state.tensors()] == shapes, f"{what}: a static state changed its shapes at token {i}"
        assert_same(module(step[0], before, mask_bl=step[1])[0], y, f"{what}: token {i} again from the state before it")
    got, want = module(more[:, :5], state)[0], module(more[:, :5], grown)[0]
    assert_same(got, want, f"{what}: several tokens at once after a static state")


def _refuses(module: nn.Module, width: int, what: str) -> None:
    _, state = module(tokens(width=width))
    mixers = [m for m in module.modules() if isinstance(m, MixerModule)]
    if not isinstance(state, State) or not mixers or type(state) not in _types(mixers[0]):
        return  # the states of a whole stack, which no mixer knows
    try:
        mixers[0].static_state(state, 100)
    except Unsupported:
        return
    raise AssertionError(f"{what} does not declare the ability static, but its state was made static without a word")


def _types(mixer: MixerModule) -> tuple[type[State], ...]:
    return mixer.states if mixer.memory is None else mixer.memory.states


def _mixer(module: nn.Module) -> MixerModule:
    return next(m for m in module.modules() if isinstance(m, MixerModule))
