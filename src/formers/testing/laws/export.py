"""Law 17: a part is the same exported.

A part that claims it is traced once by `torch.export`, with any batch and length, and the graph gives what the part
gives. Any other refuses to be traced for a batch or a length that is left open, with its name and what to do, and gives
the same from a graph of one size. The part itself stays as it was.

Inputs: traced with 3 rows of 41 tokens, then run at 2 of 77, 5 of 33, 16 of 128 and 1 of 2, in evaluation mode; each
direction, and padding in one of them.

Exempt: nothing. Graphs of one size are slow to make for some parts, and tried only when slow laws are asked for.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
import torch._dynamo.config
from torch import Tensor, nn
from torch.export import Dim, export

from formers.part import Part, Site, Unsupported
from formers.testing.compare import assert_same
from formers.testing.harness import BATCH, LENGTH, SITE, abilities, build, directions, directions_and_padding, tokens

_ROWS, _TOKENS = Dim("rows", min=1, max=64), Dim("tokens", min=2, max=128)
_SIZES = ((BATCH, LENGTH), (5, 33), (16, 128), (1, 2))
"""Rows and tokens of the inputs that the graph is run on."""


def exports_with_any_length(part: Part, site: Site = SITE) -> None:
    """The graph that `torch.export` makes of a part takes other batches and lengths, and gives the same as the part."""
    for causal, masked in directions_and_padding(part):
        module = _Output(build(part, causal=causal, site=site))
        _same_when_exported(module, site.width, masked, f"{part}{', padded' if masked else ''}")


def refuses_sizes_it_cannot_leave_open(part: Part, site: Site = SITE) -> None:
    """A part without the ability to export raises Unsupported, naming itself, where batch or length are left open."""
    if "export" in abilities(part):
        return
    for causal in directions(part):
        module = _Output(build(part, causal=causal, site=site))
        left_open: list[dict[int, object]] = [{0: _ROWS}, {1: _TOKENS}, {0: _ROWS, 1: _TOKENS}]
        for sizes in left_open:
            refusal = _refusal_of(module, sizes, site.width)
            assert refusal is not None, f"{part} does not claim export, but is traced with sizes left open: {sizes}"
            assert "dynamic_shapes" in refusal, f"{part} does not say what to do: {refusal}"


def _refusal_of(module: nn.Module, sizes: dict[int, object], width: int) -> str | None:
    """Return the message of Unsupported for an export with these sizes left open; None where it is traced."""
    try:
        export(module, _inputs(3, 41, width, False), dynamic_shapes={"x_bld": sizes, "mask_bl": None})
    except Unsupported as error:
        return str(error)
    return None


@torch.no_grad()
def exports_one_size(part: Part, site: Site = SITE) -> None:
    """The graph of a part for one batch and length gives the same, and the part gives what it gave before. Slow."""
    for causal, masked in directions_and_padding(part):
        module = _Output(build(part, causal=causal, site=site))
        x_bld, mask_bl = _inputs(3, 41, site.width, masked)
        real = slice(None) if mask_bl is None else mask_bl
        graph = export(module, (x_bld, mask_bl)).module()
        want = module(x_bld, mask_bl)[real]
        assert_same(graph(x_bld, mask_bl)[real], want, f"{part}, exported for one size")


@torch.no_grad()
def _same_when_exported(module: nn.Module, width: int, masked: bool, what: str) -> None:
    sizes = {0: _ROWS, 1: _TOKENS}
    shapes = {"x_bld": sizes, "mask_bl": sizes if masked else None}
    try:
        with _without_cache():
            graph = export(module, _inputs(3, 41, width, masked), dynamic_shapes=shapes).module()
    except Exception as error:  # of many kinds, torch's own among them
        raise AssertionError(f"{what} claims export, but torch.export says: {error}") from error
    for batch, length in _SIZES:
        x_bld, mask_bl = _inputs(batch, length, width, masked)
        real = slice(None) if mask_bl is None else mask_bl
        got, want = (one(x_bld, mask_bl)[real] for one in (graph, module))
        assert_same(got, want, f"{what}: exported, with {batch} rows of {length} tokens,")


def _without_cache() -> AbstractContextManager[None]:
    """Inside, `torch.export` works the shape of every result out, and keeps none to look it up for the next.

    With sizes left open, keys and entries of that cache cost more than what they save: 40% of the time of an export.
    """
    return torch._dynamo.config.patch(fake_tensor_cache_enabled=False)


class _Output(nn.Module):
    """The output of a part without its state, whose class no graph can return."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x_bld: Tensor, mask_bl: Tensor | None) -> Tensor:
        y: Tensor = self.module(x_bld, mask_bl=mask_bl)[0]
        return y


def _inputs(batch: int, length: int, width: int, masked: bool) -> tuple[Tensor, Tensor | None]:
    """Return tokens, and a mask that hides the first tokens of the first row."""
    mask_bl = torch.ones(batch, length, dtype=torch.bool)
    mask_bl[0, : length // 4] = False
    return tokens(batch, length, width, seed=length), mask_bl if masked else None
