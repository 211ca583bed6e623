"""DANet's local attention."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from formers.mixers.dense import QueryMixer
from formers.mixers.mixer import Mixer, MixerModule, join_heads, split_heads
from formers.ops import dense_attention, packing, pad_input, unpad_input
from formers.part import Site, State


class LocalDense(Mixer):
    """DenseAttention within windows, X W_Q Xᵀ X / window over the tokens of a window: no softmax, no keys, values, output.

    A model takes `[local_dense(window=w), local_dense(window=w, shift=w//2), dense]` in turn (Local, ShiftedLocal, Global). With a shift the
    windows move on, and what is left at both ends stands alone. O(L·min(w·D, D²/H)). Bidirectional; a causal
    model has `sliding_dense`. Source: Argatkiny & Makarov 2025 (DenseAttention).
    """

    can = frozenset({"bidirectional", "padding", "qk_position"})
    instead = {"causal": "windows look ahead; use sliding_dense(window=w)"}  # noqa: RUF012
    window: int = 32
    "Tokens in a window, counted without padding."
    shift: int = 0
    "How far the windows are moved."
    heads: int = 1
    "Heads of this mixer, whatever the model's."
    init: float = 1.0
    "W_Q starts as N(0, σ²), σ = init/√(2·layers·D)."

    def check(self) -> None:
        if self.window < 1 or not 0 <= self.shift < self.window:
            raise ValueError(f"{self}: window must be at least 1 and shift at least 0 and below window")
        if self.init < 0:
            raise ValueError(f"{self}: init must be at least 0")

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return LocalDenseMixer(site, self)


class LocalDenseMixer(QueryMixer):
    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, positions_bl = self.enter(x_bld, state, mask_bl, positions_bl)
        if mask_bl is None:
            return self.windows(x_bld, positions_bl), None
        pack = packing(mask_bl)
        there_bl = positions_bl.expand(len(x_bld), -1).gather(1, pack.source_bl)
        return pad_input(self.windows(unpad_input(x_bld, pack), there_bl), pack), None

    def windows(self, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        """Dense attention within each window. Zeros, which fill up the windows at the ends, add nothing to its sums."""
        length, width = x_bld.shape[1], self.part.window
        x_bhlk = split_heads(x_bld, self.part.heads)
        # 1/N in two steps, so that neither the queries nor the sums leave float16's range
        q_bhlk = split_heads(self.q_proj(x_bld) * width ** (-2 / 3), self.part.heads).to(x_bld.dtype)
        k_bhlk = x_bhlk
        if self.head_position is not None:
            q_bhlk, k_bhlk = self.head_position(q_bhlk, positions_bl), self.head_position(x_bhlk, positions_bl)
        before = -self.part.shift % width
        after = -(before + length) % width
        q, k, x = (cut(t, before, after, width) for t in (q_bhlk, k_bhlk, x_bhlk))
        y = self.inside(q, k, x).unflatten(0, (len(x_bld), -1)).transpose(1, 2).flatten(2, 3)
        return join_heads(y[:, :, before : before + length]) * width ** (-1 / 3)

    def inside(self, q: Tensor, k: Tensor, x: Tensor) -> Tensor:
        if self.head_position is None:
            return dense_attention(q, x)[0]
        return q @ k.mT @ x if q.shape[2] < q.shape[3] else q @ (k.mT @ x)


def cut(t_bhlk: Tensor, before: int, after: int, width: int) -> Tensor:
    """(B, H, L, K) into windows, (B·n, H, width, K), filled up with zeros at both ends."""
    return pad(t_bhlk, (0, 0, before, after)).unflatten(2, (-1, width)).transpose(1, 2).flatten(0, 1)
