"""Longformer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.mixers.heads import split_heads
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV
from formers.mixers.score_bias import row_bias
from formers.mixers.sparse import Sparse, SparseMixer, check_patterns
from formers.ops import attention, can_read, sparse_attention
from formers.part import Site, Unsupported, is_plain_linear
from formers.patterns import Global, Pattern, Window


class Longformer(Mixer):
    """A sliding window, and global tokens that see all and are seen by all, with projections of their own. O(L·window).

    Every token sees its window and the global tokens through q, k, v; a global token sees everything through q_g, k_g,
    v_g, which start as copies of the local ones. The window may grow from layer to layer and be dilated on some heads.
    In a causal model a global token sees little that is not local, so there it has no projections of its own; it
    streams.
    A bidirectional model takes `global_attention_mask`, too: tokens that are global in their row, such as those of a
    question, in the place of `tokens`. Their number is read from it once for all layers, which waits for the device and
    cannot be compiled.
    Source: Beltagy et al. 2020, arXiv:2004.05150. `attention_window` there counts both sides: 2·window.
    """

    can = Sparse.can | {"global_tokens"}
    window: tuple[int, ...] = (32,)
    """Tokens to each side (causal: back, its own included): one number, or several for as many groups of layers, the
    lowest first, so [8, 32] for the lower and the upper half. `examples/staged_longformer.py` doubles them phase by
    phase."""
    dilation: tuple[int, ...] = (1,)
    """Dilation of the window, for the heads in turn. The paper dilates two heads of the highest layers: a list of
    mixers."""
    tokens: tuple[int, ...] = (0,)
    "Which tokens are global, counted without padding; in rows of a `global_attention_mask`, those that it marks."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if not self.window or not self.dilation or min(self.window) < 1 or min(self.dilation) < 1:
            raise ValueError(f"{self}: window and dilation must list numbers of at least 1")
        if self.tokens and min(self.tokens) < 0:
            raise ValueError(f"{self}: tokens are counted from 0")

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`; without global tokens, nothing projects those of a row."""
        return self.can if self.tokens else self.can - {"global_tokens"}

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        return tuple(one | Global(self.tokens) if self.tokens else one for one in self.windows(site))

    def windows(self, site: Site) -> list[Window]:
        """Return the windows of one layer, which its heads take in turn."""
        width = self.window[site.layer * len(self.window) // max(site.layers, len(self.window))]
        return [Window(width, dilation) for dilation in self.dilation[: site.heads]]

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where the model has too few layers, heads or tokens for what is listed."""
        super().check_site(site)
        for name, given, there in (("window", self.window, site.layers), ("dilation", self.dilation, site.heads)):
            if len(given) > there:
                of = "layers" if name == "window" else "heads"
                raise Unsupported(
                    f"{self}: {name} lists {len(given)} numbers, of which the last would never be used with {there} "
                    f"{of}; list at most {there}"
                )
        check_patterns(self, self.patterns(site), site)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        if site.causal or not self.tokens:
            return SparseMixer(site, self.patterns(site), bias=self.bias)
        return LongformerMixer(site, self)


def _at(tokens: Sequence[int], t_blx: Tensor) -> Tensor:
    """Return what belongs to some tokens, (B, G, …), without sending an index to the device."""
    if list(tokens) == list(range(len(tokens))):
        return t_blx[:, : len(tokens)]
    return torch.stack([t_blx[:, token] for token in tokens], 1)


class LongformerMixer(SparseMixer):
    def __init__(self, site: Site, part: Longformer):
        super().__init__(site, part.patterns(site), bias=part.bias)
        self.tokens, self.windows = tuple(sorted(set(part.tokens))), tuple(part.windows(site))
        self.q_proj_global, self.k_proj_global, self.v_proj_global = map(
            copy.deepcopy, (self.q_proj, self.k_proj, self.v_proj)
        )

    def attend_over_pattern(self, qkv: QKV, context: Context) -> Tensor:
        """Attend over the pattern, with the outputs of the global tokens replaced."""
        if context.global_bl is not None:
            return self.attend_row_by_row(qkv, context, context.global_bl)
        y_bhlv, x_bld, mask_bl = super().attend_over_pattern(qkv, context), context.x_bld, context.mask_bl
        there = [token for token in self.tokens if token < x_bld.shape[1]]
        if not there:  # their projections take part all the same, where ranks train together
            return y_bhlv + 0 * self.global_outputs(x_bld[:, :1], context.positions_bl[:, :1], context)
        y_bhgv = self.global_outputs(_at(there, x_bld), _at(there, context.positions_bl), context)
        if mask_bl is not None:  # a row may be shorter than its global tokens are far
            y_bhgv = y_bhgv.where(_at(there, mask_bl)[:, None, :, None], 0)
        y_bhgv = y_bhgv.to(y_bhlv.dtype)
        if there == list(range(len(there))):
            return torch.cat([y_bhgv, y_bhlv[:, :, len(there) :]], 2)
        index = torch.stack([torch.full((), token, device=x_bld.device) for token in there])
        return y_bhlv.index_copy(2, index, y_bhgv)

    def attend_row_by_row(self, qkv: QKV, context: Context, global_bl: Tensor) -> Tensor:
        """Attend over the windows and the global tokens of each row, and replace the outputs of these."""
        if not can_read(global_bl):
            raise Unsupported(
                "global_attention_mask tells by its numbers how many tokens are global, which a compiled or exported "
                "model cannot read; run longformer without compiling, or with the same tokens in every row"
            )
        q, k, v = qkv
        x_bld, mask_bl, bias = context.x_bld, context.mask_bl, self.pair_bias(q, k, context.positions_bl)
        y_bhlv = sparse_attention(q, k, v, self.windows, key_mask_bs=mask_bl, global_bs=global_bl, bias=bias)
        rows, length, width = x_bld.shape
        assert context.most_global is not None
        count = max(context.most_global, 1)  # one at least: the projections take part in every backward pass
        index_bg = global_bl.long().argsort(dim=1, descending=True, stable=True)[:, :count]
        x_bgd = x_bld.gather(1, index_bg.unsqueeze(2).expand(-1, -1, width))
        y_bhgv = self.global_outputs(x_bgd, context.positions_bl.expand(rows, -1).gather(1, index_bg), context)
        place_bg = index_bg.where(global_bl.gather(1, index_bg), length)  # what only fills up goes behind the last
        place_bhgv = place_bg[:, None, :, None].expand_as(y_bhgv)
        padded = nn.functional.pad(y_bhlv, (0, 0, 0, 1))
        return padded.scatter(2, place_bhgv, y_bhgv.to(y_bhlv.dtype))[:, :, :length]

    def global_outputs(self, x_bgd: Tensor, q_positions_bg: Tensor, context: Context) -> Tensor:
        """Return what the global tokens see, (B, H, G, V)."""
        x_bld, mask_bl, positions_bl = context.x_bld, context.mask_bl, context.positions_bl
        q = self.split_queries(self.q_proj_global(x_bgd))
        if 2 * self.heads * x_bgd.shape[1] <= x_bld.shape[2] and self.can_fold():
            return self.folded_outputs(q, x_bld.to(q.dtype), mask_bl)
        k, v = self.split_keys(self.k_proj_global(x_bld)), split_heads(self.v_proj_global(x_bld), self.heads)
        q, k = self.apply_position(q, q_positions_bg), self.apply_position(k, positions_bl)
        bias = row_bias(self.score_position, q_positions_bg, positions_bl)
        return attention(q, k, v, key_mask_bs=mask_bl, bias=bias)

    def can_fold(self) -> bool:
        """Return whether keys and values of global tokens are plain products: no norm, position, adapter or hook."""
        plain = is_plain_linear(self.k_proj_global) and is_plain_linear(self.v_proj_global)
        return plain and self.k_norm is None and self.head_position is None and self.score_position is None

    def folded_outputs(self, q_bhgk: Tensor, x_bld: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Return the same for few global tokens without projecting the many others, in O(HGLD) instead of O(LD²).

        q·(W_k x + b_k) = (W_kᵀq)·x + q·b_k, and Σ p (W_v x + b_v) = W_v Σ p x + b_v.
        """
        projections, scale = (self.k_proj_global, self.v_proj_global), q_bhgk.shape[3] ** -0.5
        w_k, w_v = (one.weight.unflatten(0, (self.heads, -1)) for one in projections)
        b_k, b_v = (None if one.bias is None else one.bias.view(self.heads, 1, -1) for one in projections)
        bias = None if b_k is None else q_bhgk @ b_k.mT * scale
        x_b1ld = x_bld.unsqueeze(1)
        q_b1nd = (q_bhgk @ w_k).flatten(1, 2).unsqueeze(1)  # the heads share keys: rows of one head, for any kernel
        bias = None if bias is None else bias.flatten(1, 2).unsqueeze(1)
        y_b1nd = attention(q_b1nd, x_b1ld, x_b1ld, key_mask_bs=mask_bl, bias=bias, scale=scale)
        y_bhgv = y_b1nd.squeeze(1).unflatten(1, (self.heads, -1)) @ w_v.mT
        return y_bhgv if b_v is None else y_bhgv + b_v

    def init_weights(self, std: float) -> None:
        """Start the global projections as copies of the local ones."""
        pairs: list[tuple[nn.Linear, nn.Linear]] = [
            (self.q_proj_global, self.q_proj),
            (self.k_proj_global, self.k_proj),
            (self.v_proj_global, self.v_proj),
        ]
        for own, local in pairs:
            own.load_state_dict(local.state_dict())
