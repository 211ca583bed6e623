"""A pattern drawn in characters."""

from __future__ import annotations

import torch

from formers.patterns.pattern import Pattern

SEEN, HIDDEN = "█", "·"


def picture(pattern: Pattern, length: int = 32, *, causal: bool = False) -> str:
    """Return a drawing with queries down and keys across, `█` where a query sees a key."""
    tokens = torch.arange(length)
    mask = pattern.resolve(length=length, causal=causal).mask(tokens[:, None], tokens[None, :]).expand(length, length)
    return "\n".join("".join(SEEN if seen else HIDDEN for seen in row) for row in mask.tolist())


def pictures(pattern: Pattern, length: int = 32) -> str:
    """Return the pattern and its causal form side by side, with the share of all pairs that each contains."""
    drawn = [picture(pattern, length, causal=causal).splitlines() for causal in (False, True)]
    shares = [
        f"{name}, {pattern.density(length, causal=causal):.0%} of {length}²"
        for name, causal in (("all", False), ("causal", True))
    ]
    lines = [shares, *zip(*drawn, strict=True)]
    return "\n".join(f"  {left:<{max(length, len(shares[0]))}}   {right}" for left, right in lines)
