"""Law 4: a memory learns, and what it remembers does not.

No gradient passes through the state of a memory into the tokens before. Parameters get the gradients that they have
where the tokens before are constants: those of keys and values learn from remembered tokens, too.

Inputs: 30 tokens, then 12 that go on from their state and from one that was made without gradients; without padding.

Exempt: parts whose states let gradients pass, which `gradients_flow_through_states` is about.
"""

from __future__ import annotations

import torch

from formers.part import Part, Site
from formers.testing.compare import ROUNDING, assert_same
from formers.testing.harness import SITE, build, tokens


def memories_stop_gradients(part: Part, site: Site = SITE) -> None:
    """Gradients of a segment are those of one pass in which the tokens before it are constants."""
    module = build(part, causal=True, site=site)
    before, now = tokens(length=30, width=site.width), tokens(length=12, width=site.width, seed=1).requires_grad_()
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    wanted = [now, *(p for p in module.parameters() if p.requires_grad)]
    weight = tokens(length=12, width=site.width, seed=3)
    whole = module(torch.cat([before, now], 1))[0][:, 30:]
    want = torch.autograd.grad((whole * weight).sum(), wanted, allow_unused=True)
    allowed = ROUNDING * max(float(g.abs().max()) for g in want if g is not None)
    for how, made_with in (("gradients", True), ("no gradients", False)):
        earlier = before.clone().requires_grad_()
        with torch.set_grad_enabled(made_with):
            _, state = module(earlier)
        y, _ = module(now, state)
        (passed, *got) = torch.autograd.grad((y * weight).sum(), [earlier, *wanted], allow_unused=True)
        assert passed is None or not passed.any(), f"{part}: a gradient passes through a state made with {how}"
        for name, a, b in zip(["the input", *names], got, want, strict=True):
            assert (a is None) == (b is None), f"{part}: a gradient of {name} is missing after a state made with {how}"
            if a is not None and b is not None:
                assert_same(a, b, f"{part}: gradient of {name} after a state made with {how}", allowed)
