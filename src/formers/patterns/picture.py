"""A pattern drawn in characters."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.patterns.pattern import Pattern

SEEN, SOME, HIDDEN = "█", "▒", "·"
_WIDEST = 64
"""Characters of a line; a longer sequence has several tokens in each."""
_SPARSE = 0.5
_DRAWN = tuple(2**power for power in range(5, 12))


def picture(pattern: Pattern, length: int = 32, *, causal: bool = False) -> str:
    """Return a drawing with queries down and keys across, `█` where a query sees a key.

    Beyond 64 tokens a character stands for several, and is `▒` where some of its queries see some of its keys.
    """
    shares = _shares(mask_of(pattern, length, causal), -(-length // _WIDEST))
    return "\n".join("".join(SEEN if s == 1 else SOME if s else HIDDEN for s in row) for row in shares.tolist())


def pictures(pattern: Pattern, length: int = 32) -> str:
    """Return the pattern and its causal form side by side, with the share of all pairs that each contains."""
    drawn = [picture(pattern, length, causal=causal).splitlines() for causal in (False, True)]
    shares = [
        f"{name}, {pattern.density(length, causal=causal):.0%} of {length}²"
        for name, causal in (("all", False), ("causal", True))
    ]
    lines = [shares, *zip(*drawn, strict=True)]
    return "\n".join(f"  {left:<{max(len(drawn[0][0]), len(shares[0]))}}   {right}" for left, right in lines)


def telling_length(pattern: Pattern) -> int:
    """Return the least of 32, 64, … 2,048 tokens of which the pattern leaves out half of the pairs; 32 if none does."""
    return next((length for length in _DRAWN if pattern.density(length) <= _SPARSE), _DRAWN[0])


def mask_of(pattern: Pattern, length: int, causal: bool) -> Tensor:
    """Return (length, length) numbers, 1 where a query sees a key, else 0."""
    tokens = torch.arange(length)
    mask = pattern.resolve(length=length, causal=causal).mask(tokens[:, None], tokens[None, :])
    return mask.expand(length, length).float()


def _shares(mask_ls: Tensor, tokens: int) -> Tensor:
    """Return the mean of each square of so many tokens; those at the end are as large as there are tokens left."""
    rows = torch.stack([part.mean(0) for part in mask_ls.split(tokens)])
    return torch.stack([part.mean(1) for part in rows.split(tokens, dim=1)], dim=1)
