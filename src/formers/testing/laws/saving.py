"""Law 11: a part saves whole.

A round trip through safetensors gives exactly the same outputs.

Inputs: a part and another of its kind, built with another seed, that loads what the first one saved.

Exempt: nothing.
"""

from __future__ import annotations

import torch
from safetensors.torch import load, save

from formers.part import Part, Site
from formers.testing.compare import assert_zero
from formers.testing.harness import SITE, build, directions, tokens


def saves_whole(part: Part, site: Site = SITE) -> None:
    """A round trip through safetensors gives exactly the same outputs, and every buffer that matters is in it."""
    x = tokens(width=site.width)
    for causal in directions(part):
        saved, other = (build(part, causal=causal, site=site, seed=seed) for seed in (0, 1))
        with torch.no_grad():
            want = saved(x)[0]
            other.load_state_dict(load(save({k: v.contiguous() for k, v in saved.state_dict().items()})))
            assert_zero(other(x)[0] - want, f"{part}: difference between what was saved and what was loaded")
