"""DANet's local attention."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from formers.mixers.context import Context, count_tokens
from formers.mixers.dense import exponents_of_count
from formers.mixers.heads import check_head_count
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV
from formers.mixers.windowed_dense import WindowedDenseMixer
from formers.ops import dense_attention
from formers.part import Site, State, check_init


class LocalDense(Mixer):
    """DenseAttention within windows: X W_Q Xᵀ X / window over the tokens of each, without softmax, keys or values.

    A model takes `[local_dense(window=w), local_dense(window=w, shift=w//2), dense]` in turn (Local, ShiftedLocal,
    Global). With a shift the windows move on, and what is left at both ends stands alone. O(L·min(w·D, D²/H)).
    Bidirectional; a causal model has `sliding_dense`. In the published code positions count from 0 in every window
    (`restart`). Source: Argatkiny & Makarov 2025 (DenseAttention).
    """

    added = {"restart": False}  # noqa: RUF012
    can = frozenset({"bidirectional", "padding", "qk_position", "relative"})
    instead = {"causal": "windows look ahead; use sliding_dense(window=w)"}  # noqa: RUF012
    starts = {"init": ("q_proj.weight",)}  # noqa: RUF012
    window: int = 32
    "Tokens in a window, counted without padding."
    shift: int = 0
    "How far the windows are moved."
    heads: int = 1
    "Heads of this mixer, whatever the model's."
    init: float | None = None
    "W_Q starts as N(0, σ²), σ = init/√(2·layers·D); init is the model's `initializer_range` unless given."
    restart: bool = False
    "Whether positions of tokens count from 0 in every window, as published, or on through the sequence."

    def check(self) -> None:
        if self.window < 1 or not 0 <= self.shift < self.window:
            raise ValueError(f"{self}: window must be at least 1 and shift at least 0 and below window")
        check_head_count(self, "heads")
        check_init(self)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return LocalDenseMixer(site, self)


class LocalDenseMixer(WindowedDenseMixer):
    def context(
        self, x_bld: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor | None
    ) -> Context:
        if self.part.restart:
            positions_bl = (count_tokens(x_bld, mask_bl, state) - 1 - self.part.shift) % self.part.window
        return super().context(x_bld, state, mask_bl, positions_bl)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        """Attend within each window, the first and the last one filled up with zeros."""
        positions_bl, width, (rows, length, _) = context.positions_bl, self.part.window, context.x_bld.shape
        x_bhlk = qkv.v
        of_queries, of_outputs = exponents_of_count(qkv.q.dtype, x_bhlk.dtype)
        q_bhlk = (qkv.q * width**of_queries).to(x_bhlk.dtype)
        q_bhlk, k_bhlk = self.apply_position(q_bhlk, positions_bl), self.apply_position(x_bhlk, positions_bl)
        before = -self.part.shift % width
        after = -(before + length) % width
        q, k, x = (_windows(t, before, after, width) for t in (q_bhlk, k_bhlk, x_bhlk))
        y_bhlv = self.within(q, k, x).unflatten(0, (rows, (before + length + after) // width))
        y_bhlv = y_bhlv.transpose(1, 2).flatten(2, 3)
        y_bhlv = y_bhlv[:, :, before : before + length]
        return y_bhlv * width**of_outputs if of_outputs else y_bhlv, None

    def within(self, q: Tensor, k: Tensor, x: Tensor) -> Tensor:
        """Return Q Kᵀ X of every window, by the cheaper product first."""
        if self.head_position is None:
            return dense_attention(q, x)[0]
        return q @ k.mT @ x if q.shape[2] < q.shape[3] else q @ (k.mT @ x)


def _windows(t_bhlk: Tensor, before: int, after: int, width: int) -> Tensor:
    """Return (B, H, L, K) cut into windows, (B·N, H, width, K), with zeros at both ends."""
    return pad(t_bhlk, (0, 0, before, after)).unflatten(2, (-1, width)).transpose(1, 2).flatten(0, 1)
