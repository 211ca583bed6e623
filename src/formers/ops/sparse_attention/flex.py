"""Sparse attention through torch's FlexAttention, which is made for GPUs.

The tiles of a pattern, and the function that tests its pairs, are derived once for a pattern, lengths and a device, and
kept; so is the compiled kernel. Masks, global tokens and biases reach it as tensors that these functions read.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.common.flex_kernel import TILE, MaskMod, block_mask, flex_kernel, flex_reasons, in_tiles, mask_in_tiles
from formers.ops.common.tracing import fixed_size
from formers.ops.sparse_attention.flex_mods import pattern_mod, score_mod, with_global_mod
from formers.ops.sparse_attention.flex_tiles import tile_map
from formers.ops.sparse_attention.inputs import SparseInputs
from formers.ops.sparse_attention.numbers import patterns_of
from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs

_KEPT = 64
"""Patterns and sizes whose tiles are kept."""


def unsupported_reasons(inputs: SparseInputs) -> list[str]:
    """Return why FlexAttention cannot run on these inputs, a sentence each."""
    reasons = flex_reasons(inputs.q_bhlk, inputs.k_bhsk, inputs.v_bhsv, instead="gathered")
    if inputs.bias is not None and inputs.bias.by_pair is None:
        reasons.append("this bias is not made pair by pair (`PairBias.by_pair`); use impl='gathered'")
    return reasons


def sparse_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    patterns: tuple[Pairs, ...],
    causal: bool,
    key_mask_bs: Tensor | None,
    global_bs: Tensor | None,
    bias: PairBias | None,
    scale: float,
) -> Tensor:
    """Return `sparse_attention` by a compiled kernel that skips the tiles without a pair.

    Lengths are rounded up to whole tiles where the pattern is the same for both and no bias counts the places, so that
    one compiled kernel serves 128 of them. First derivatives alone; torch raises for second ones, which impl="gathered"
    has.
    """
    rows, keys = fixed_size(q.shape[2]), fixed_size(k.shape[2])
    numbers = [one.number() for one in patterns]
    added = _added(keys, causal, *numbers) if rows == keys and bias is None else 0
    layout: FlexLayout = getattr(
        _LAYOUTS,
        _name_of(q.shape[1], rows + added, keys + added, causal, str(q.device), global_bs is None, *numbers),
    )
    if key_mask_bs is not None:
        k, v = (t.where(key_mask_bs[:, None, :, None], 0) for t in (k, v))
        global_bs = None if global_bs is None else global_bs & key_mask_bs
    if added:
        key_mask_bs = mask_in_tiles(key_mask_bs, k, causal)
        global_bs = None if global_bs is None else pad(global_bs, (0, added))
        q, k, v = in_tiles(q), in_tiles(k), in_tiles(v)
    order_c = layout.order_c
    if order_c is not None:
        at_c = order_c.clamp(min=0)
        q, k, v = (t[:, :, at_c] for t in (q, k, v))
        key_mask_bs = None if key_mask_bs is None else key_mask_bs[:, at_c]
    of_pair = None if bias is None or bias.by_pair is None else bias.by_pair()
    blocks = layout.block_mask if global_bs is None else layout.with_global(global_bs, causal)
    y: Tensor = flex_kernel(
        q,
        k,
        v,
        (layout.kinds, causal, key_mask_bs is None, global_bs is None, bias is None),
        block_mask=blocks,
        score_mod=score_mod(key_mask_bs, of_pair, order_c),
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    y = y if layout.place_l is None else y[:, :, layout.place_l]
    return y[:, :, :rows] if added else y


@dataclass(frozen=True, eq=False)
class FlexLayout:
    """What is kept for patterns, lengths and a device.

    Attributes:
        block_mask: FlexAttention's, for all sequences.
        seen: the pairs of places.
        some_hnm, every_hnm: tiles with a pair, and those that are wholly pairs, (H or 1, query tiles, key tiles).
        offset: the token of query 0.
        order_c: the token at each place, −1 where there is none; None where places are tokens.
        place_l: the place of each token.
        kinds: the patterns, those of all layers alike: their tables are tensors that one compiled kernel reads.
    """

    block_mask: Any
    seen: MaskMod
    some_hnm: Tensor
    every_hnm: Tensor
    offset: int
    order_c: Tensor | None
    place_l: Tensor | None
    kinds: tuple[Pairs, ...]

    def with_global(self, global_bs: Tensor, causal: bool) -> Any:
        """Return the block mask with the pairs of the global tokens of each sequence. Waits for no device."""
        rows, keys = self.block_mask.seq_lengths
        tiles_q, tiles_k = self.some_hnm.shape[1:]
        of_keys = pad(global_bs, (0, tiles_k * TILE - keys)).unflatten(1, (-1, TILE)).any(2)
        of_queries = global_bs[:, max(self.offset, 0) :]
        before = rows - of_queries.shape[1]  # queries before the first token
        of_queries = pad(of_queries, (before, tiles_q * TILE - rows)).unflatten(1, (-1, TILE)).any(2)
        either = of_queries[:, None, :, None] | of_keys[:, None, None, :]
        if causal:
            last_n = (torch.arange(tiles_q, device=global_bs.device) + 1) * TILE - 1 + self.offset
            either = either & (torch.arange(tiles_k, device=global_bs.device) * TILE <= last_n[:, None])
        seen = with_global_mod(self.seen, global_bs, self.offset, causal)
        return block_mask(self.some_hnm | either, self.every_hnm.expand_as(self.some_hnm | either), seen, (rows, keys))


@torch.inference_mode(False)  # a layout first made for inference must serve training later
def _make_layout(
    patterns: tuple[Pairs, ...], heads: int, rows: int, keys: int, causal: bool, device: str, may_fold: bool
) -> FlexLayout:
    """Return the layout. Takes time ∝ the tiles that the patterns' bounds leave open, once."""
    there = torch.device(device)
    different = list(dict.fromkeys(patterns))
    maps = [tile_map(one, rows, keys, causal, there, may_fold and len(different) == 1) for one in different]
    which_h = [different.index(one) for one in patterns]
    if len(different) == 1:
        some_hnm, every_hnm = maps[0].some_nm[None], maps[0].every_nm[None]
    else:
        turns = [maps[which_h[h % len(which_h)]] for h in range(heads)]
        some_hnm, every_hnm = (torch.stack([getattr(one, name) for one in turns]) for name in ("some_nm", "every_nm"))
    order_c = maps[0].order_c
    sizes = (rows, keys) if order_c is None else (len(order_c), len(order_c))
    offset = keys - rows
    seen = pattern_mod([one.test for one in maps], which_h, offset)
    blocks = block_mask(some_hnm[None], every_hnm[None], seen, sizes)
    kinds = tuple(one.at_layer(0) for one in patterns)
    return FlexLayout(blocks, seen, some_hnm, every_hnm, offset, order_c, _places(order_c, rows), kinds)


class _Layouts:
    """The last layouts, as attributes by name: compilers find these where they are, functions and all."""

    def __init__(self) -> None:
        self.names: OrderedDict[tuple[Any, ...], str] = OrderedDict()
        self.numbers = itertools.count()

    def name_of(self, *key: Any) -> str:
        """Return the name of a layout, which is made unless it is there."""
        if key not in self.names:
            name = f"layout_{next(self.numbers)}"
            setattr(self, name, _make_layout(*key))
            self.names[key] = name
        self.names.move_to_end(key)
        while len(self.names) > _KEPT:
            delattr(self, self.names.popitem(last=False)[1])
        return self.names[key]


_LAYOUTS = _Layouts()


def _name_of(heads: int, rows: int, keys: int, causal: bool, device: str, may_fold: bool, *numbers: int) -> str:
    return _LAYOUTS.name_of(patterns_of(numbers), heads, rows, keys, causal, device, may_fold)


def _added(length: int, causal: bool, *numbers: int) -> int:
    """Return how many tokens fill up the last tile; 0 where the patterns would be others for so many."""
    same = all(_is_the_same(one, length, length + -length % TILE, causal) for one in patterns_of(numbers))
    return -length % TILE if same else 0


@lru_cache(16 * _KEPT)
def _is_the_same(pattern: Pairs, length: int, other: int, causal: bool) -> bool:
    return pattern.resolve(length=length, causal=causal) == pattern.resolve(length=other, causal=causal)


# What `torch.compiler.assume_constant_result` does, without importing the compiler: nothing of these is traced.
_name_of._dynamo_marked_constant = _added._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _places(order_c: Tensor | None, length: int) -> Tensor | None:
    """Return the place of each token, where places are not tokens."""
    if order_c is None:
        return None
    there = (order_c >= 0).nonzero().squeeze(1)
    return order_c.new_zeros(length).index_copy(0, order_c[there], there)
