"""Law 5: rows are independent, also where each has global tokens of its own.

A part that takes global tokens row by row gives each row what it gives it alone, without padding and without other
documents; its global tokens see every token of their row, and every token sees them. Any other part refuses them.

Inputs: three rows of 77 tokens with two, no and four global tokens, outputs and gradients of the input; one padded with
NaN on the left, marks at padding included; two rows packed into one.

Exempt: NaN in padding, in hosts where padding stays in its own place.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from formers.mixers.documents import Documents, GlobalMask
from formers.part import Part, Site, Unsupported
from formers.testing.compare import FELT, assert_same, moved
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import LENGTH, SITE, abilities, build, directions, silences_padding, tokens

_GLOBAL: tuple[tuple[int, ...], ...] = ((2, 40), (), (0, 1, 50, LENGTH - 1))
"""The global tokens of each row."""
_PADDING = 9
_Results: TypeAlias = tuple[Tensor, Tensor]
"""Outputs and the gradient of the input."""


def global_tokens_are_those_of_the_row(part: Part, site: Site = SITE) -> None:
    """Each row with its own global tokens gives what it gives alone, padded and packed, too; they see all and are seen
    by all."""
    module, x = build(part, causal=False, site=site), tokens(len(_GLOBAL), width=site.width)
    global_bl = torch.stack([torch.zeros(LENGTH, dtype=torch.bool).index_fill(0, _index(row), True) for row in _GLOBAL])
    alone = [_run(module, x[b : b + 1], None, global_bl[b : b + 1]) for b in range(len(x))]
    together = _run(module, x, None, global_bl)
    for b, (y, g) in enumerate(alone):
        assert_same(together[0][b], y[0], f"{part}: output of row {b} with its own global tokens")
        assert_same(together[1][b], g[0], f"{part}: gradient of row {b} with its own global tokens")
    _padded_is_alone(part, module, x, global_bl, alone)
    _packed_is_alone(part, module, x, global_bl, alone)
    _see_and_are_seen(part, module, x[:1], global_bl[:1])


def global_tokens_are_refused(part: Part, site: Site = SITE) -> None:
    """A part that does not take global tokens row by row raises Unsupported, naming itself or its host's mixer."""
    for causal in directions(part):
        if not causal and "global_tokens" in abilities(part):
            continue
        module, x = build(part, causal=causal, site=site), tokens(width=site.width)
        marks_bl = torch.zeros(x.shape[:2], dtype=torch.bool).index_fill(1, torch.tensor([0]), True)
        refusal = _refusal_of(module, x, marks_bl)
        assert refusal is not None, f"{part} takes global tokens, but does not say that it can"
        assert "global_attention_mask" in refusal, f"{part} does not say what to leave out: {refusal}"


def _refusal_of(module: nn.Module, x: Tensor, global_bl: Tensor) -> str | None:
    """Return the message of Unsupported where a module is given global tokens; None where it takes them."""
    try:
        module(x, mask_bl=GlobalMask(None, global_bl))
    except Unsupported as error:
        return str(error)
    return None


def _index(row: tuple[int, ...]) -> Tensor:
    return torch.tensor(row, dtype=torch.long)


def _run(module: nn.Module, x: Tensor, mask: Tensor | Documents | None, global_bl: Tensor) -> _Results:
    """Return outputs and the gradient of the input."""
    found = outputs_and_gradients(module, x, mask_bl=GlobalMask(mask, global_bl))
    return found["output"], found["gradient of the input"]


def _padded_is_alone(part: Part, module: nn.Module, x: Tensor, global_bl: Tensor, alone: list[_Results]) -> None:
    filling = torch.nan if silences_padding(part) else 1e4
    padded = nn.functional.pad(x, (0, 0, _PADDING, 0), value=filling)
    mask_bl = nn.functional.pad(torch.ones_like(global_bl), (_PADDING, 0), value=False)
    found = _run(module, padded, mask_bl, nn.functional.pad(global_bl, (_PADDING, 0), value=True))
    for b, want in enumerate(alone):
        for name, got, expected in zip(("output", "gradient"), found, want, strict=True):
            assert_same(got[b, _PADDING:], expected[0], f"{part}, padded: {name} of row {b} with its own global tokens")


def _packed_is_alone(part: Part, module: nn.Module, x: Tensor, global_bl: Tensor, alone: list[_Results]) -> None:
    number_bl = torch.arange(len(x)).repeat_interleave(LENGTH).unsqueeze(0)
    found = _run(module, x.flatten(0, 1)[None], Documents.numbered(number_bl), global_bl.view(1, -1))
    for name, got, expected in zip(("output", "gradient"), found, zip(*alone, strict=True), strict=True):
        want = torch.cat([*expected], 1)
        assert_same(got, want, f"{part}, packed: {name} of documents with their own global tokens")


@torch.no_grad()
def _see_and_are_seen(part: Part, module: nn.Module, x: Tensor, global_bl: Tensor) -> None:
    def run(x: Tensor) -> Tensor:
        y: Tensor = module(x, mask_bl=GlobalMask(None, global_bl))[0]
        return y[0]

    y_ld, marked = run(x), [int(i) for i in global_bl[0].nonzero().flatten()]
    for token in (marked[0], LENGTH - 1):
        changed = x.clone()
        changed[:, token] += 1.0
        after_ld = run(changed)
        for other in range(LENGTH) if token in marked else marked:
            felt = moved(after_ld[other], y_ld[other])
            assert felt > FELT, f"{part}: token {other} does not see token {token}, though one of them is global"
