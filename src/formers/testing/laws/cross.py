"""Another sequence is read as the formula says, without its padding.

Outputs and gradients of cross-attention are those of an independent float64 form, wherever the padding of the source is
and whatever it holds; each query reads by itself, each row its own source, and what is kept of a source is a state that
can be reordered.

Inputs: queries of 5 tokens, sources of 77, without and with padding on the left, inside and on the right that holds
NaN.

Exempt: parts without the ability `cross`; these refuse to be built for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from formers.mixers import Mixer
from formers.mixers.cross import CrossMixer
from formers.part import Part, Site
from formers.testing.compare import assert_same, rounding_of
from formers.testing.harness import BATCH, SITE, padding_mask, tokens, unsettled
from formers.testing.references.cross import cross_reference

_QUERIES = 5


def source_is_read_by_the_formula(part: Part, site: Site = SITE) -> None:
    """Outputs and all gradients are those of the formula over the source's real tokens."""
    cross, x, source = _built(part, site), tokens(length=_QUERIES, width=site.width, seed=1), tokens(width=site.width)
    for mask_bs, what in ((None, str(part)), (padding_mask(), f"{part}, padded source")):
        filled = source if mask_bs is None else source.masked_fill(~mask_bs.unsqueeze(-1), torch.nan)
        found = _with_gradients(cross, x, filled, mask_bs)
        weights = {name: tensor.detach().clone() for name, tensor in cross.state_dict().items()}
        want = _by_reference(part, site, weights, x, source, mask_bs)
        largest = max(float(tensor.abs().max()) for name, tensor in want.items() if name != "output")
        for name, tensor in want.items():
            got = found[name]
            if name == "gradient of the source" and mask_bs is not None:
                got, tensor = got[mask_bs], tensor[mask_bs]
            assert_same(got, tensor, f"{what}, reading a source: {name}", rounding_of(tensor, largest))


def source_is_read_alike_in_every_way(part: Part, site: Site = SITE) -> None:
    """All queries at once are each by itself, each row reads its own source, and rows of a source can change places."""
    cross, x, source = _built(part, site), tokens(length=_QUERIES, width=site.width, seed=1), tokens(width=site.width)
    mask_bs = padding_mask()
    with torch.no_grad():
        kept = cross.read(source, mask_bs)
        y = cross(x, kept)
        steps = torch.cat([cross(x[:, i : i + 1], kept) for i in range(_QUERIES)], 1)
        assert_same(steps, y, f"{part}, reading a source step by step: output")
        for row in range(BATCH):
            real = source[row : row + 1, mask_bs[row]]
            alone = cross(x[row : row + 1], cross.read(real))
            assert_same(alone, y[row : row + 1], f"{part}, reading the source of row {row} alone: output")
            assert int(kept.seen_b[row]) == real.shape[1], f"{part} counts {int(kept.seen_b[row])} real source tokens"
        turned = torch.arange(BATCH).flip(0)
        assert_same(cross(x[turned], kept.reorder(turned)), y[turned], f"{part}, rows in another order: output")
        other = cross(x, cross.read(source.flip(0), mask_bs))
        assert not torch.allclose(other, y), f"{part} gives the same output for another source"


def _built(part: Part, site: Site) -> CrossMixer:
    assert isinstance(part, Mixer)
    return unsettled(lambda: part.build_cross(site))


def _with_gradients(cross: CrossMixer, x: Tensor, source: Tensor, mask_bs: Tensor | None) -> dict[str, Tensor]:
    x, source = x.clone().requires_grad_(), source.clone().requires_grad_()
    return _gradients(cross(x, cross.read(source, mask_bs)), x, source, dict(cross.named_parameters()))


def _by_reference(
    part: Part, site: Site, weights: dict[str, Tensor], x: Tensor, source: Tensor, mask_bs: Tensor | None
) -> dict[str, Tensor]:
    x, source = x.clone().requires_grad_(), source.clone().requires_grad_()
    trained = {name: tensor.requires_grad_() for name, tensor in weights.items()}
    rows = [
        cross_reference(part, replace(site, position=None), trained, x[b : b + 1], source[b : b + 1, seen])
        for b, seen in enumerate(torch.ones(source.shape[:2], dtype=torch.bool) if mask_bs is None else mask_bs)
    ]
    return _gradients(torch.cat(rows), x, source, trained)


def _gradients(y: Tensor, x: Tensor, source: Tensor, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the output and all gradients for one random weighting of the outputs."""
    weighting = torch.randn(y.shape, generator=torch.Generator().manual_seed(7), dtype=y.dtype)
    found = torch.autograd.grad((y * weighting).sum(), [x, source, *named.values()])
    names = ["the input", "the source", *named]
    return {"output": y.detach()} | {f"gradient of {n}": g for n, g in zip(names, found, strict=True)}
