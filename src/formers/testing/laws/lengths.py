"""Law 3: how many tokens a part takes does not depend on padding.

What is refused alone is refused padded, what is taken alone is taken padded, and is the same. Every part takes a
sequence without tokens, which gives no outputs and leaves the state as it is, also the one at the start; and a batch
without rows.

Inputs: 0 to 21 tokens, alone and padded to 30, where the context length is 20; no rows of 77 tokens, and a step after.

Exempt: from padding, parts without the ability `padding`, which refuse a mask.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import assert_same, assert_zero
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import SITE, abilities, build, directions, tokens

_LONGEST, _PADDED = 20, 30
_FEW = 7
"""So many tokens every part takes, whatever its image or context length."""
_LENGTHS = (1, 2, 3, 7, _LONGEST - 1, _LONGEST, _LONGEST + 1)


def lengths_do_not_depend_on_padding(part: Part, site: Site = SITE) -> None:
    """A sequence of any length is refused, or taken with the same outputs, alone and padded."""
    if "padding" not in abilities(part):
        return
    for causal in directions(part):
        module = build(part, causal=causal, site=replace(site, context_length=_LONGEST))
        for length in _LENGTHS:
            x = tokens(1, length, site.width)
            mask_bl = torch.arange(_PADDED).unsqueeze(0) < length
            padded = torch.zeros(1, _PADDED, site.width, dtype=x.dtype).index_copy(1, torch.arange(length), x)
            alone, beside = _outputs(module, x, None), _outputs(module, padded, mask_bl)
            what = f"{part}, {'causal' if causal else 'bidirectional'}, {length} tokens"
            if isinstance(alone, Tensor) and isinstance(beside, Tensor):
                assert_same(beside[:, :length], alone, f"{what}, padded to {_PADDED}")
            else:
                assert type(alone) is type(beside), (
                    f"{what} alone: {_in_words(alone)}; padded to {_PADDED}: {_in_words(beside)}"
                )


def no_tokens_are_taken(part: Part, site: Site = SITE) -> None:
    """A sequence without tokens gives no outputs and, like an empty chunk, leaves the start as it is."""
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        nothing, x = tokens(length=0, width=site.width), tokens(length=_FEW, width=site.width)
        what = f"{part}, {'causal' if causal else 'bidirectional'}"
        for mask_bl in (None, torch.ones(len(x), 0, dtype=torch.bool)):
            y, state = module(nothing, mask_bl=mask_bl)
            assert y.shape == nothing.shape, f"{what}: no tokens give outputs {tuple(y.shape)}"
            if causal:
                assert_same(module(x, state)[0], module(x)[0], f"{what}: output after an empty chunk at the start")


def no_rows_are_taken(part: Part, site: Site = SITE) -> None:
    """A batch without rows gives no outputs, with padding and in steps, too, and in training gradients of zero."""
    can, x = abilities(part), tokens(batch=0, width=site.width)
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        what = f"{part}, {'causal' if causal else 'bidirectional'}, no rows"
        for name, tensor in outputs_and_gradients(module.train(), x).items():
            assert_zero(tensor, f"{what}: {name}")
        module.eval()
        with torch.no_grad():
            y, state = module(x)
            found = {"alone": (y, x)}
            if "padding" in can:
                found["padded"] = module(x, mask_bl=torch.ones(0, x.shape[1], dtype=torch.bool))[0], x
            if causal and "streaming" in can:
                found["in a step"] = module(x[:, :1], state)[0], x[:, :1]
        for how, (got, given) in found.items():
            assert got.shape == given.shape, f"{what}, {how}: outputs {tuple(got.shape)}"


@torch.no_grad()
def _outputs(module: nn.Module, x: Tensor, mask_bl: Tensor | None) -> Tensor | Exception:
    """Return the outputs, or the error that says why there are none."""
    try:
        y: Tensor = module(x, mask_bl=mask_bl)[0]
        return y
    except ValueError as error:
        return error


def _in_words(outcome: Tensor | Exception) -> str:
    return "taken" if isinstance(outcome, Tensor) else f"{type(outcome).__name__}: {outcome}"
