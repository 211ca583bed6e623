"""DANet's causal local attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.mixers.context import Context, seen_after
from formers.mixers.dense import exponents_of_count
from formers.mixers.heads import check_head_count
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV
from formers.mixers.windowed_dense import WindowedDenseMixer
from formers.part import Site, State, check_init


class SlidingDense(Mixer):
    """DenseAttention over a sliding window: y_i = Σ_{i−w < j ≤ i} (x_i W_Q · x_j) x_j / w.

    The causal counterpart of `local_dense`, in O(L·w·D). Streams with w − 1 tokens. Source: Argatkiny & Makarov 2025
    (DenseAttention).
    """

    can = frozenset({"causal", "streaming", "static", "padding", "qk_position", "relative"})
    instead = {"bidirectional": "use local_dense(window=w)"}  # noqa: RUF012
    starts = {"init": ("q_proj.weight",)}  # noqa: RUF012
    window: int = 32
    "Tokens a token sees, itself and those right before it, counted without padding."
    heads: int = 1
    "Heads of this mixer, whatever the model's."
    init: float | None = None
    "W_Q starts as N(0, σ²), σ = init/√(2·layers·D); init is the model's `initializer_range` unless given."

    def check(self) -> None:
        if self.window < 1:
            raise ValueError(f"{self}: window must be at least 1")
        check_head_count(self, "heads")
        check_init(self)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return SlidingDenseMixer(site, self)


@dataclass(frozen=True)
class SlidingDenseState(State):
    """The last w − 1 tokens of each row, zeros before its first."""

    x_bhsk: Tensor
    "As values, (B, H, w − 1, K)."
    k_bhsk: Tensor | None
    "As keys, where a position changes them; None where they are the values."


class SlidingDenseMixer(WindowedDenseMixer):
    states = (SlidingDenseState,)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        width, positions_bl = self.part.window, context.positions_bl
        of_queries, of_outputs = exponents_of_count(qkv.q.dtype, qkv.v.dtype)
        q, k, x = qkv.q * width**of_queries, None, qkv.v
        if self.head_position is not None:
            q, k = self.apply_position(q, positions_bl), self.apply_position(x, positions_bl)
        before = context.state if isinstance(context.state, SlidingDenseState) else None
        x = _preceded(x, before.x_bhsk if before else None, width - 1)
        k = None if k is None else _preceded(k, before.k_bhsk if before else None, width - 1)
        y_bhlv = _windowed(q, x if k is None else k, x, width)
        y_bhlv = y_bhlv * width**of_outputs if of_outputs else y_bhlv
        count_b = seen_after(context.x_bld, context.mask_bl, None)
        last_x, last_k = (None if t is None else _last(t, count_b, width - 1) for t in (x, k))
        assert last_x is not None
        return y_bhlv, SlidingDenseState(context.seen_b, last_x, last_k)


def _preceded(now_bhlk: Tensor, before: Tensor | None, count: int) -> Tensor:
    """Return the tokens with the `count` before them in front, zeros at the start."""
    return pad(now_bhlk, (0, 0, count, 0)) if before is None else torch.cat([before.to(now_bhlk.dtype), now_bhlk], 2)


def _last(t_bhsk: Tensor, count_b: Tensor, kept: int) -> Tensor:
    """Return the last `kept` tokens of each row, which has `count_b` of them behind the first `kept`."""
    index_bs = count_b[:, None] + torch.arange(kept, device=t_bhsk.device)
    return t_bhsk.gather(2, index_bs[:, None, :, None].expand(-1, t_bhsk.shape[1], -1, t_bhsk.shape[3]))


def _windowed(q_bhlk: Tensor, k_bhsk: Tensor, v_bhsk: Tensor, width: int) -> Tensor:
    """Return Σ_{j=i}^{i+w−1} (q_i·k_j) v_j, where S = L + w − 1.

    Blocks of queries meet the keys that any of them sees.
    """
    length = q_bhlk.shape[2]
    if not length:
        return q_bhlk
    block = min(width, length)
    spare = -length % block
    q = pad(q_bhlk, (0, 0, 0, spare)).unflatten(2, (-1, block))
    k, v = (pad(t, (0, 0, 0, spare)).unfold(2, block + width - 1, block) for t in (k_bhsk, v_bhsk))  # (B, H, n, K, S)
    ahead = torch.arange(block + width - 1, device=q.device) - torch.arange(block, device=q.device)[:, None]
    band = ((ahead >= 0) & (ahead < width)).to(q.dtype)
    return ((q @ k * band) @ v.mT).flatten(2, 3)[:, :, :length]
