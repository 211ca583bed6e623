"""Law 17 on a GPU: every part gives there what it gives on a CPU, under autocast too."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers.catalogue import CATALOGUE
from formers.part import Part, Site
from formers.testing import abilities, assert_same, build, directions, padding_mask, sites_of, tokens
from formers.testing.gradients import outputs_and_gradients
from formers.testing.laws import runs_under_autocast
from formers.testing.sites import label

PARTS = [kind() for kind in CATALOGUE]
CASES = [pytest.param(part, site, id=f"{part}-{label(site)}") for part in PARTS for site in sites_of(part)]
ALLOWED = 1e-9
"""Float64 sums in another order, relative to the largest value."""


@pytest.mark.parametrize(("part", "site"), CASES)
def test_outputs_and_gradients_are_those_of_the_cpu(part: Part, site: Site, device: str) -> None:
    for causal in directions(part):
        for mask_bl in (None, padding_mask()) if "padding" in abilities(part) else (None,):
            module, x = build(part, causal=causal, site=site), tokens(width=site.width)
            want = outputs_and_gradients(module, x, mask_bl=mask_bl)
            there = None if mask_bl is None else mask_bl.to(device)
            found = outputs_and_gradients(module.to(device), x.to(device), mask_bl=there)
            real_bl = mask_bl if mask_bl is not None else torch.ones(x.shape[:2], dtype=torch.bool)
            largest = max(float(tensor.abs().max()) for tensor in want.values())
            for name, tensor in want.items():
                got = found[name].cpu()
                if name in ("output", "gradient of the input"):
                    got, tensor = got[real_bl], tensor[real_bl]
                assert_same(got, tensor, f"{part} on {device}: {name}", ALLOWED * largest)


@pytest.mark.parametrize("part", [part for part in PARTS if "streaming" in abilities(part)], ids=str)
def test_steps_are_those_of_the_cpu(part: Part, device: str) -> None:
    module, x = build(part, causal=True), tokens(length=40)
    with torch.no_grad():
        want, _ = module(x)
        state: Any = None
        outputs = []
        for piece in x.to(device).split([30, *[1] * 10], 1):
            y, state = module.to(device)(piece, state)
            outputs.append(y.cpu())
    assert_same(torch.cat(outputs, 1), want, f"{part} on {device}, step by step", ALLOWED * float(want.abs().max()))


@pytest.mark.parametrize(("part", "site"), CASES)
def test_autocast(part: Part, site: Site, device: str) -> None:
    runs_under_autocast(part, site, device=device)
