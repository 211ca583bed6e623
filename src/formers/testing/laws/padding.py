"""Law 3: padding does not matter.

Outputs and gradients of real tokens are those of each row alone, wherever its padding stands and whatever it holds.

Inputs: rows of 41 and 29 tokens, padded on the left, on the right and inside, the padding filled with 10,000 or NaN.

Exempt: parts without the ability `padding` (`fourier`): they refuse a mask that hides something. In hosts with norms
and feed-forwards padding stays in its own place, and is filled with 10,000 only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.part import Part, Site, Unsupported
from formers.testing.compare import ROUNDING, assert_same
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import SITE, abilities, build, directions, silences_padding, tokens

_REAL = (41, 29)
"""Real tokens in each row of the padded batches."""
_PADDINGS = (("left", 1e4), ("left", torch.nan), ("right", torch.nan), ("inside", 1e4))
"""Where padding is, and what it holds."""


def padding_does_not_matter(part: Part, site: Site = SITE) -> None:
    """Outputs and all gradients with padding are those without, wherever the padding is and whatever it holds.

    A part without the ability `padding` refuses a mask that hides something, and takes one that hides nothing.
    """
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        _full_mask_is_no_mask(module, site.width, f"{part}")
        if "padding" not in abilities(part):
            _refuses_padding(module, site.width, f"{part}")
            continue
        rows = [tokens(1, length, site.width, seed=length)[0] for length in _REAL]
        alone = [outputs_and_gradients(module, row[None]) for row in rows]
        for where, filling in _PADDINGS:
            holds = filling if silences_padding(part) else 1e4
            _same_as_alone(module, rows, alone, where, holds, f"{part}, padding of {holds:g} {where}")


def _full_mask_is_no_mask(module: nn.Module, width: int, what: str) -> None:
    x = tokens(width=width)
    masked, _ = module(x, mask_bl=torch.ones(x.shape[:2], dtype=torch.bool))
    assert_same(masked, module(x)[0], f"{what}: output with a mask that hides nothing")


def _refuses_padding(module: nn.Module, width: int, what: str) -> None:
    x = tokens(width=width)
    mask_bl = torch.ones(x.shape[:2], dtype=torch.bool)
    mask_bl[0, -1] = False
    try:
        module(x, mask_bl=mask_bl)
    except Unsupported:
        return
    raise AssertionError(
        f"{what} does not declare the ability padding, but took a mask without a word: heed the mask "
        "and declare it, or raise Unsupported where the mask hides a token"
    )


def _same_as_alone(
    module: nn.Module, rows: list[Tensor], alone: list[dict[str, Tensor]], where: str, filling: float, what: str
) -> None:
    x, mask_bl = _padded(rows, where, filling)
    found = outputs_and_gradients(module, x, mask_bl=mask_bl)
    for b, want in enumerate(alone):
        for name in ("output", "gradient of the input"):
            assert_same(found[name][b][mask_bl[b]], want[name][0], f"{what}: {name} of row {b}")
    allowed = ROUNDING * max(float(tensor.abs().max()) for want in alone for tensor in want.values())
    for name in found.keys() - {"output", "gradient of the input"}:
        assert_same(found[name], sum((want[name] for want in alone), torch.zeros(())), f"{what}: {name}", allowed)


def _padded(rows: list[Tensor], where: str, filling: float) -> tuple[Tensor, Tensor]:
    """Return the rows in one batch of their longest length + 5, and its mask."""
    length = max(map(len, rows)) + 5
    x = torch.full((len(rows), length, rows[0].shape[-1]), filling, dtype=rows[0].dtype)
    mask_bl = torch.zeros(x.shape[:2], dtype=torch.bool)
    for b, row in enumerate(rows):
        at = _places(len(row), length, where)
        x[b, at], mask_bl[b, at] = row, True
    return x, mask_bl


def _places(real: int, length: int, where: str) -> Tensor:
    """Return the places of the real tokens of a row. Inside: one in front, then a gap, then alternating with single
    gaps."""
    if where == "left":
        return torch.arange(length - real, length)
    if where == "right":
        return torch.arange(real)
    gaps = torch.zeros(real, dtype=torch.long)
    gaps[1] = max((length - real) // 2, 1)
    for i in range(length - real - int(gaps.sum())):
        gaps[2 + 2 * i % (real - 2)] += 1
    return torch.arange(real) + gaps.cumsum(0)
