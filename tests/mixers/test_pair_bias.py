"""Biases pair by pair, as kernels that compile them ask for them, are those of whole tiles."""

import itertools

import pytest
import torch

from formers.mixers import Etc, Sparse
from formers.part import Site
from formers.patterns import Window
from formers.positions import T5, Alibi, Shaw, Xl

PARTS = [Sparse(pattern=Window(8)), Etc(tokens=3, radius=8), Etc(tokens=3, radius=8, segment=4)]


def built(part, position):
    torch.manual_seed(0)
    return part.build(Site(width=24, heads=3, causal=False, context_length=40, position=position))


POSITIONS = [Alibi(), T5(buckets=8, reach=20), Shaw(clip=4, values=False)]
ADDED = [*itertools.product(PARTS, POSITIONS), *((part, None) for part in PARTS if isinstance(part, Etc))]
"""Parts and positions of which at least one adds to scores."""


@pytest.mark.parametrize(("part", "position"), ADDED, ids=str)
@pytest.mark.parametrize("rows", [1, 2])
def test_pairs_are_those_of_tiles(part, position, rows):
    module = built(part, position).double()
    for weight in module.parameters():
        torch.nn.init.normal_(weight)
    q, k = torch.randn(2, 2, 3, 30, 8, dtype=torch.float64).unbind()
    positions = torch.stack([torch.arange(30), torch.arange(30) * 2])[:rows]
    bias = module.pair_bias(q, k, positions)
    of_pair = bias.by_pair()
    at = torch.meshgrid(*(torch.arange(n) for n in (2, 3, 30, 30)), indexing="ij")
    every = torch.arange(30)[None]
    want = torch.cat([bias(b, every, every).expand(1, 3, 30, 30) for b in range(2)])
    torch.testing.assert_close(of_pair(*at).to(want.dtype), want)
    own = bias.of_sequence(1).by_pair()
    torch.testing.assert_close(own(torch.zeros_like(at[0][1:]), *(t[1:] for t in at[1:])).to(want.dtype), want[1:])


def test_xl_is_not_made_by_pairs():
    module = built(Sparse(pattern=Window(8)), Xl())
    q, k = torch.randn(2, 1, 3, 30, 8).unbind()
    assert module.pair_bias(q, k, torch.arange(30)[None]).by_pair is None
