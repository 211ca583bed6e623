"""Projections along the length of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from formers.ops import accumulation_dtype


class LengthProjection(nn.Module):
    """E ∈ R^{k×L_max}: (B, H, L, K) → (B, H, k', K), k' ≤ k.

    The first `counts_b` tokens of a row are real, with zeros behind.

    learned: E itself, per group of heads, its first L columns. The others go by windows of ⌈L_max/k⌉ tokens, and those
    beyond the sequence are left out: mean: of the real tokens; max: of them; conv: a weight per feature and place in
    the window. O(L·k·K) learned, else O(L·K).
    """

    def __init__(self, kind: str, groups: int, length: int, longest: int, width: int):
        super().__init__()
        self.kind, self.longest = kind, longest
        self.window = -(-longest // length)
        self.weight: nn.Parameter | None = None
        if kind == "learned":
            self.weight = nn.Parameter(torch.empty(groups, length, longest))
        if kind == "conv":
            self.weight = nn.Parameter(torch.empty(groups, 1, self.window, width))
        self.init_weights(0.0)

    def forward(self, x_bhlk: Tensor, counts_b: Tensor | None) -> Tensor:
        length = x_bhlk.shape[2]
        if length > self.longest:
            raise ValueError(
                f"linformer was built for sequences of up to {self.longest} tokens, but got {length}; "
                "set context_length, or cut the sequence"
            )
        if self.kind == "learned":
            assert self.weight is not None
            return self.weight[..., :length] @ x_bhlk
        x_bhnwk = pad(x_bhlk, (0, 0, 0, -length % self.window)).unflatten(2, (-1, self.window))
        if self.kind == "conv":
            assert self.weight is not None
            return (x_bhnwk * self.weight).sum(3)
        real_bnw = self.real(counts_b, length, x_bhlk.device)
        if self.kind == "mean":
            total_bhnk = x_bhnwk.sum(3, dtype=accumulation_dtype(x_bhlk.dtype))
            return (total_bhnk / real_bnw.sum(-1).clamp(min=1)[:, None, :, None]).to(x_bhlk.dtype)
        lowest = x_bhnwk.masked_fill(~real_bnw[:, None, ..., None], -torch.inf).amax(3)
        return lowest.masked_fill(~real_bnw.any(-1)[:, None, :, None], 0)

    def real(self, counts_b: Tensor | None, length: int, device: torch.device) -> Tensor:
        """Return which places of the windows hold real tokens, (B or 1, N, window)."""
        places_1l = torch.arange(length + -length % self.window, device=device).unsqueeze(0)
        return (places_1l < (length if counts_b is None else counts_b[:, None])).unflatten(1, (-1, self.window))

    def filled(self, counts_b: Tensor | None, length: int) -> Tensor | None:
        """Return which outputs hold any real token, (B, k'); None when all do."""
        if counts_b is None:
            return None
        if self.kind == "learned":
            assert self.weight is not None
            return (counts_b > 0)[:, None].expand(-1, self.weight.shape[1])
        return self.real(counts_b, length, counts_b.device).any(-1)

    def init_weights(self, std: float) -> None:
        """Start with outputs as large as the tokens of a full sequence or window."""
        if self.weight is not None:
            nn.init.normal_(self.weight, std=(self.longest if self.kind == "learned" else self.window) ** -0.5)
