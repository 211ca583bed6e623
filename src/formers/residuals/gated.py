"""The gated wiring of GTrXL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site
from formers.residuals.gates import BIASED, InputGate
from formers.residuals.residual import Block, Residual, Sublayer

_BIAS = 2.0
"""The start of the bias: gates let through σ(−2) ≈ 0.12 of what is new. Published for `gru`; implementations start
the others at 1 or at 10, and here they start as it does, so that one can be swapped for another."""


class Gated(Residual):
    """a = g(x, relu(mixer(norm(x)))), then g′(a, relu(ffn(norm(a)))): learned gates g, g′ in the place of sums.

    With the stream x, the output y of a sub-layer and projections without biases, `gru` is (1 − z) ⊙ x + z ⊙ ĥ, where
    r = σ(W_r y + U_r x), z = σ(W_z y + U_z x − b) and ĥ = tanh(W_h y + U_h (r ⊙ x)); `input` is σ(W x) ⊙ x + y;
    `output` is x + σ(W x − b) ⊙ y; `highway` is c ⊙ x + (1 − c) ⊙ y, where c = σ(W x + b); `sigtanh` is
    x + σ(W y − b) ⊙ tanh(U y).

    The larger b, the nearer to the identity a layer starts; `input`, without b, starts at x/2 + y. A layer has 12·D²
    parameters more with `gru`, as many as attention and an `mlp` have together, 4·D² with `sigtanh` and 2·D² with the
    others, and as many multiplications a token. The stream is never normalised. GTrXL is this wiring around attention
    with a memory and relative positions, which trained where the plain sum did not.
    Source: Parisotto et al. 2019 (GTrXL), arXiv:1910.06764, section 3.
    """

    normalizes_end = True
    starts = {"bias": ("mixer_gate.bias", "ffn_gate.bias")}  # noqa: RUF012
    gate: Literal["gru", "input", "output", "highway", "sigtanh"] = "gru"
    "Which g; the paper found `gru` to be the best and the most stable."
    bias: float | None = None
    "What all values of b start as; 2, as published for `gru`, unless given. `input` has none."

    def check(self) -> None:
        if self.gate not in BIASED and self.bias is not None:
            raise ValueError(
                f"{self}: this gate has no bias; leave out bias={self.bias}, or take {' or '.join(BIASED)}"
            )

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return GatedBlock(site, mixer, ffn, norm, gates=(self.build_gate(site.width), self.build_gate(site.width)))

    def build_sublayer(self, site: Site, norm: Norm) -> Sublayer:
        return GatedSublayer(site, norm, self.build_gate(site.width))

    def build_gate(self, width: int) -> nn.Module:
        """Return a gate of this kind, (x, y) → g(x, y), each (…, D)."""
        if self.gate not in BIASED:
            return InputGate(width)
        return BIASED[self.gate](width, _BIAS if self.bias is None else self.bias)


class GatedBlock(Block):
    def __init__(
        self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm, *, gates: tuple[nn.Module, nn.Module]
    ):
        super().__init__(site, mixer, ffn, norm)
        self.mixer_gate, self.ffn_gate = gates

    def join(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        return self.mixer_gate(x_bld, self.dropout(F.relu(mixed_bld)))

    def feed(self, x_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        fed = self.feed_forward(self.ffn_norm(x_bld), mask_bl)
        return self.ffn_gate(x_bld, self.dropout(F.relu(fed)))


class GatedSublayer(Sublayer):
    def __init__(self, site: Site, norm: Norm, gate: nn.Module):
        super().__init__(site, norm)
        self.gate = gate

    def forward(self, x_bld: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        gated: Tensor = self.gate(x_bld, self.dropout(F.relu(run(self.norm(x_bld)))))
        return gated
