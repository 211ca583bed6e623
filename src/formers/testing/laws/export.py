"""Law 17: a part is the same exported.

A part that claims it is traced once by `torch.export`, with any batch and length, and the graph gives what the part
gives.

Inputs: traced with 3 rows of 41 tokens, then run with other batches and lengths, in evaluation mode.

Exempt: parts without the ability `export`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, export

from formers.part import Part, Site
from formers.testing.compare import assert_same
from formers.testing.harness import BATCH, LENGTH, SITE, build, directions, tokens

_ROWS, _TOKENS = Dim("rows", min=1, max=64), Dim("tokens", min=2, max=128)


def exports_with_any_length(part: Part, site: Site = SITE) -> None:
    """The graph that `torch.export` makes of a part takes other batches and lengths, and gives the same as the part."""
    for causal in directions(part):
        module = build(part, causal=causal, site=site).eval()
        with torch.no_grad():
            example = (tokens(3, 41, site.width),)
            try:
                graph = export(_Output(module), example, dynamic_shapes={"x_bld": {0: _ROWS, 1: _TOKENS}}).module()
            except Exception as error:  # of many kinds, torch's own among them
                raise AssertionError(f"{part} claims export, but torch.export says: {error}") from error
            for batch, length in ((BATCH, LENGTH), (1, 9)):
                x_bld = tokens(batch, length, site.width)
                what = f"{part}: exported, with {batch} rows of {length} tokens,"
                assert_same(graph(x_bld), module(x_bld)[0], what)


class _Output(nn.Module):
    """The output of a part without its state, whose class no graph can return."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x_bld: Tensor) -> Tensor:
        y: Tensor = self.module(x_bld)[0]
        return y
