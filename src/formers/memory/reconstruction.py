"""Losses that a compressor learns from: its tokens should do for those that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState
from formers.ops import accumulation_dtype

LossName: TypeAlias = Literal["attention", "autoencoding"]
"""Names of losses."""


@dataclass(frozen=True)
class Compressed:
    """Tokens that leave a memory, and the compressed ones in their place.

    Attributes:
        old_bed: the tokens, (B, N·c, D), without a graph.
        new_bnd: the compressed ones, (B, N, D), with that of the compressor.
        mask_bn: which of these there are, (B, N); None = all.
    """

    old_bed: Tensor
    new_bnd: Tensor
    mask_bn: Tensor | None = None


class Decoder(nn.Module):
    """g of the auto-encoding loss: makes `rate` tokens of a compressed one, by a linear map."""

    def __init__(self, rate: int, width: int):
        super().__init__()
        self.rate = rate
        self.tokens_proj = nn.Linear(width, rate * width)

    def forward(self, compressed: Compressed) -> Tensor:
        """Return the mean of ‖old − g(f(old))‖² over features and tokens that there are."""
        back_bed = self.tokens_proj(compressed.new_bnd).unflatten(2, (self.rate, -1)).flatten(1, 2)
        mask_be = None if compressed.mask_bn is None else compressed.mask_bn.repeat_interleave(self.rate, 1)
        return _mean_square(compressed.old_bed - back_bed, mask_be)


def attention_loss(mixer: CachedAttention, context: Context, compressed: Compressed) -> Tensor:
    """Return the mean of ‖attn(h, old) − attn(h, f(old))‖² over the outputs of all heads for the new tokens h.

    Attention is by content alone: all tokens stand at one place. Neither h nor a weight of the mixer is learned from
    it.
    """
    frozen = {f"mixer.{name}": weight.detach() for name, weight in mixer.named_parameters()}
    new = _in_one_place(context.x_bld.detach(), context.mask_bl)
    mask_bn = compressed.mask_bn
    mask_be = None if mask_bn is None else mask_bn.repeat_interleave(_rate(compressed), 1)
    old, short = _in_one_place(compressed.old_bed, mask_be), _in_one_place(compressed.new_bnd, mask_bn)

    def difference(mixer: CachedAttention) -> Tensor:
        q_bhlk = mixer.queries(new)
        return _seen_by_all(mixer, q_bhlk, old).detach() - _seen_by_all(mixer, q_bhlk, short)

    apart_bhlv = functional_call(_WithMixer(mixer, difference), frozen, ())
    return _mean_square(apart_bhlv.transpose(1, 2).flatten(2), context.mask_bl)


def _rate(compressed: Compressed) -> int:
    return compressed.old_bed.shape[1] // compressed.new_bnd.shape[1]


def _in_one_place(x_bld: Tensor, mask_bl: Tensor | None) -> Context:
    return Context(x_bld, torch.zeros(1, x_bld.shape[1], dtype=torch.long, device=x_bld.device), mask_bl)


def _seen_by_all(mixer: CachedAttention, q_bhlk: Tensor, tokens: Context) -> Tensor:
    """Return what all queries see in all of the tokens, (B, H, L, V).

    Mixers let query i see keys up to i + S − L: with L masked keys behind, each of them sees the S before.
    """
    k_bgsk, v_bgsv = mixer.keys_values(tokens)
    queries = q_bhlk.shape[2]
    mask_bs = k_bgsk.new_ones(k_bgsk.shape[0], k_bgsk.shape[2], dtype=torch.bool)
    mask_bs = mask_bs if tokens.mask_bl is None else tokens.mask_bl
    k_bgsk, v_bgsv = (torch.cat([t, t.new_zeros(*t.shape[:2], queries, t.shape[3])], 2) for t in (k_bgsk, v_bgsv))
    mask_bs = torch.cat([mask_bs, mask_bs.new_zeros(mask_bs.shape[0], queries)], 1)
    seen = KeyValueState(torch.zeros((), device=k_bgsk.device), k_bgsk, v_bgsv, mask_bs)
    return mixer.attend_to(seen, q_bhlk, None)


def _mean_square(x_bld: Tensor, mask_bl: Tensor | None) -> Tensor:
    """Return the mean of x² over features and real tokens, in float32 or wider; 0 without any."""
    squares_bl = x_bld.to(accumulation_dtype(x_bld.dtype)).square().mean(2)
    if mask_bl is None:
        return squares_bl.mean()
    return squares_bl.masked_fill(~mask_bl, 0).sum() / mask_bl.sum().clamp(min=1)


class _WithMixer(nn.Module):
    """Calls a function with the mixer, so that `functional_call` can put weights into it."""

    def __init__(self, mixer: CachedAttention, function: Callable[[Any], Tensor]):
        super().__init__()
        self.mixer, self.function = mixer, function

    def forward(self) -> Tensor:
        return self.function(self.mixer)
