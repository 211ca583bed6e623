"""Cross-attention: tokens read another sequence, the source."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from formers.mixers.heads import join_heads, normed, split_heads
from formers.part import Site, State


class CrossMixer(nn.Module):
    """Queries of tokens against keys and values of a source: `read` the source once, then call with any tokens.

        source = cross.read(source_bsd, mask_bs)    # what it keeps of the source, of a type in `states`
        y_bld = cross(x_bld, source)                # each query by itself: all tokens, chunks and single steps agree

    It has the usual projections, `q_proj` on the tokens and `k_proj`, `v_proj` on the source, and no position: what
    order source and tokens have is in their hidden states. A subclass defines `keep` and `attend`.
    """

    states: ClassVar[tuple[type[State], ...]] = ()
    "Types of what `read` returns."

    def __init__(self, site: Site, *, kv_heads: int | None = None, bias: bool = False):
        """Build the projections; `kv_heads` is the number of heads of keys and values, if not that of queries."""
        super().__init__()
        self.heads, self.kv_heads = site.heads, site.heads if kv_heads is None else kv_heads
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide the {self.heads} heads, but {self.kv_heads} was given")
        inner = self.heads * site.head_width
        self.q_proj = nn.Linear(site.width, inner, bias=bias)
        self.k_proj = nn.Linear(site.width, self.kv_heads * site.head_width, bias=bias)
        self.v_proj = nn.Linear(site.width, self.kv_heads * site.head_width, bias=bias)
        self.o_proj = nn.Linear(inner, site.width, bias=bias)
        self.q_norm, self.k_norm = site.head_norm(), site.head_norm()

    def read(self, source_bsd: Tensor, mask_bs: Tensor | None = None) -> State:
        """Return what is kept of a source, (B, S, D), of which the mask, (B, S), tells the real tokens; None = all.

        Whatever padding holds, NaN too, does not matter.
        """
        batch, length, _ = source_bsd.shape
        if mask_bs is None:
            seen_b = torch.full((batch,), length, device=source_bsd.device)
        else:
            source_bsd, seen_b = source_bsd.masked_fill(~mask_bs.unsqueeze(-1), 0), mask_bs.sum(-1)
        k_bgsk, v_bgsv = (split_heads(proj(source_bsd), self.kv_heads) for proj in (self.k_proj, self.v_proj))
        return self.keep(normed(self.k_norm, k_bgsk), v_bgsv, mask_bs, seen_b)

    def forward(self, x_bld: Tensor, source: State) -> Tensor:
        """Return y (B, L, D); zeros before the output projection where a source has no real tokens."""
        if not isinstance(source, self.states):
            expected = " or ".join(kind.__name__ for kind in self.states)
            raise TypeError(
                f"{type(self).__name__} reads a {expected}, but a {type(source).__name__} was given; pass what its "
                "`read` returned"
            )
        q_bhlk = split_heads(self.q_proj(x_bld), self.heads)
        return self.o_proj(join_heads(self.attend(normed(self.q_norm, q_bhlk), source)))

    def keep(self, k_bgsk: Tensor, v_bgsv: Tensor, mask_bs: Tensor | None, seen_b: Tensor) -> State:
        """Return what is kept of keys and values, those of padding made of zeros; `seen_b` counts the real ones."""
        raise NotImplementedError

    def attend(self, q_bhlk: Tensor, source: State) -> Tensor:
        """Return what the queries read, (B, H, L, V)."""
        raise NotImplementedError
