"""Law 18: the whole part is checked, not only its op.

Projections, scale, position and state of a part, forward and backward, are those of a reference: an independent float64
form that is written from the formula and shares no code with the library.

Inputs: 2 rows of 77 tokens and 9 rows of 23, without and with padding, in one pass and in chunks, at counted positions
and at given ones.

Exempt: parts without a reference, as your own may be; `check` warns of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import assert_same, rounding_of
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import BATCH, LENGTH, SITE, abilities, build, directions, silences_padding, tokens
from formers.testing.references import Hosted, hosted


def same_as_reference(part: Part, site: Site = SITE) -> None:
    """Outputs and all gradients of the whole part are its reference's, with any padding and however it is cut; at the
    first site also those of more and shorter sequences."""
    for causal in directions(part):
        _Comparison(part, causal, site, batch=BATCH, length=LENGTH).run()
        if site == SITE:
            _Comparison(part, causal, site, batch=9, length=23).run()


class _Comparison:
    """A part at one site beside its reference."""

    def __init__(self, part: Part, causal: bool, site: Site, *, batch: int, length: int):
        self.can, self.causal = abilities(part), causal
        self.module = build(part, causal=causal, site=site)
        self.expected = _Expected(self.module, hosted(part, replace(site, causal=causal)))
        self.x_bld = tokens(batch, length, site.width)
        self.filling = torch.nan if silences_padding(part) else 1e4
        position = "" if site.position is None else f" with {site.position}"
        self.what = f"{part}{position}, {'causal' if causal else 'bidirectional'}, width {site.width}"

    def run(self) -> None:
        self.compare(self.x_bld, None, self.what)
        if "padding" in self.can:
            mask_bl = _padding(*self.x_bld.shape[:2])
            filled_bld = self.x_bld.masked_fill(~mask_bl.unsqueeze(-1), self.filling)
            self.compare(filled_bld, mask_bl, f"{self.what}, padded")
        self.compare_at_given_positions()

    def compare(self, x_bld: Tensor, mask_bl: Tensor | None, what: str) -> None:
        """Compare output and gradients of one pass, and the outputs in chunks where the part streams."""
        want = outputs_and_gradients(self.expected, x_bld, mask_bl=mask_bl)
        found = outputs_and_gradients(self.module, x_bld, mask_bl=mask_bl)
        y_bld, real = want.pop("output"), slice(None) if mask_bl is None else mask_bl
        self.same(found.pop("output")[real], y_bld[real], f"{what}: output")
        largest = max(float(gradient.abs().max()) for gradient in want.values())
        for name, gradient in want.items():
            self.same(found[name], gradient, f"{what}: {name}", largest)
        if self.causal and "streaming" in self.can:
            self.same(self.in_chunks(x_bld, mask_bl)[real], y_bld[real], f"{what}, in chunks: output")

    def same(self, got: Tensor, want: Tensor, what: str, largest: float = 0.0) -> None:
        """Compare up to rounding of the largest value; of all gradients' largest where this one vanishes beside it."""
        assert_same(got, want, f"{what}, compared with the reference,", rounding_of(want, largest))

    @torch.no_grad()
    def in_chunks(self, x_bld: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Return the outputs for 1, 7, 1, and all other tokens; each chunk goes on from the state of the one before."""
        state, ys, start = None, [], 0
        for size in (1, 7, 1, x_bld.shape[1] - 9):
            chunk = slice(start, start + size)
            y, state = self.module(x_bld[:, chunk], state, mask_bl=None if mask_bl is None else mask_bl[:, chunk])
            ys.append(y)
            start += size
        return torch.cat(ys, 1)

    @torch.no_grad()
    def compare_at_given_positions(self) -> None:
        """Compare where positions have a gap and differ from row to row."""
        batch, length, _ = self.x_bld.shape
        i = torch.arange(length)
        positions_bl = i + 2 * (i > length // 2) + torch.arange(batch).unsqueeze(1)
        got, want = (one(self.x_bld, positions_bl=positions_bl)[0] for one in (self.module, self.expected))
        self.same(got, want, f"{self.what}, at given positions: output")


class _Expected(nn.Module):
    """The reference with the interface of the module, on the module's weights: real tokens alone, row by row."""

    def __init__(self, module: nn.Module, compute: Hosted):
        super().__init__()
        self.compute = compute
        self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        self.trained = {n: self.weights[n].requires_grad_() for n, p in module.named_parameters() if p.requires_grad}

    def named_parameters(self, *args: object, **options: object) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(self.trained.items())  # type: ignore[arg-type]  # leaves of the graph, as parameters are

    def forward(
        self, x_bld: Tensor, *, mask_bl: Tensor | None = None, positions_bl: Tensor | None = None
    ) -> tuple[Tensor, None]:
        if mask_bl is None:
            given = torch.arange(x_bld.shape[1]).unsqueeze(0) if positions_bl is None else positions_bl
            return self.compute(self.weights, x_bld, given), None
        rows = []
        for x_ld, mask_l in zip(x_bld, mask_bl, strict=True):
            at = mask_l.nonzero().flatten()
            y_1ld = self.compute(self.weights, x_ld[None, at], torch.arange(len(at)).unsqueeze(0))
            rows.append(y_1ld.new_zeros(len(x_ld), y_1ld.shape[-1]).index_copy(0, at, y_1ld[0]))
        return torch.stack(rows), None


def _padding(batch: int, length: int) -> Tensor:
    """Return a mask with padding on the left of a row, on the right of the next, inside and at the end of the third."""
    mask_bl = torch.ones(batch, length, dtype=torch.bool)
    mask_bl[0::3, : length // 5] = False
    mask_bl[1::3, -(length // 6) :] = False
    mask_bl[2::3, length // 3 : length // 2] = False
    mask_bl[2::3, -2:] = False
    return mask_bl
