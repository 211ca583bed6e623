"""The memory of the Memorizing Transformer: one layer looks keys and values of the past up by their likeness."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from formers.memory import lookup
from formers.memory.band import banded, counts_of
from formers.memory.fifo import Fifo
from formers.memory.key_lists import StoredKeys
from formers.memory.lookup import Lookup, Search, look_up
from formers.memory.memory import Memory
from formers.memory.remembered import Remembered, seen_together
from formers.mixers import MemoryInput, MixerMemory, MixerModule
from formers.mixers.context import Context
from formers.mixers.score_bias import row_bias
from formers.mixers.softmax import SoftmaxMixer
from formers.part import Site, State, Unsupported

_SCALE = 10.0
"""The start of the factor of cosines, which are between −1 and 1: a softmax over them alone could tell little apart."""
_PROBES = 16
_EPS = 1e-6
"""ε in the length of keys and queries: zeros stay zeros, with a gradient that half precision can hold."""


class Memorizing(Memory):
    """Every layer attends to the last `window` tokens, and one, near the top, looks older ones up in a large memory.

    In that layer, the memory holds keys and values of the `size` tokens before the window, per row and head: first in,
    first out. A query takes the `k` keys there with the largest cosine, and attends to these apart from its window:

        y = g·softmax_j(τ·cos(q, k_j)) v_j + (1 − g)·attention over the window,  g = σ(gate) and τ > 0 learned per head.

    A query without anything to look up has g = 0. Cosines are those of the token's content: all keys and queries of the
    lookup are taken at position 0. They are kept as they were made, and no gradient reaches them. Outputs do not
    depend on how a text is cut into segments. The paper's window is a segment and the one before it.

    The memory begins anew with each document of a row, and where `State.reset` says so. Added to a trained model
    (`convert_weights(model, model.config.swap(memory=memorizing(…)))`) it leaves all other weights as they are and
    starts nearly closed; with a `window` of the trained length, the model is at first what it was. Costs O(L·size·D) in
    the one layer, beside the window's, and less by FAISS; the state holds 2·(window + size)·G·K numbers there. Takes
    softmax(). The state cannot take tokens back. Source: Wu et al. 2022 (Memorizing Transformers), arXiv:2203.08913.
    """

    can = frozenset({"causal", "streaming", "padding", "qk_position", "score_position", "weight_position", "relative"})
    starts: ClassVar[Mapping[str, tuple[str, ...]]] = {"gate": ("gate_h",)}
    size: int = 8192
    "Tokens in the memory."
    k: int = 32
    "Tokens that a query looks up."
    layer: int | None = None
    "The layer that looks up, from 0; the one at three quarters of the depth (9th of 12) unless given."
    window: int | None = None
    "Tokens that every layer attends to, the present one too; half of the model's `context_length` unless given."
    gate: float = 0.05
    "The share g that what is looked up starts with, above 0 and below 1."
    search: Literal["exact", "faiss"] = "exact"
    """How keys are found: by comparing all; or on the CPU by FAISS (the extra `retrieval`), which looks into some of
    about √size lists and finds most of them, sooner where `size` is in the ten thousands. Keys that a call brings
    itself are compared, and so are all of a memory of fewer than 1,024, where `faiss` is refused."""
    probes: int | None = None
    "With `faiss`, lists that a query looks into; 16 unless given."
    added: ClassVar[Mapping[str, Any]] = {"search": "exact", "probes": None}

    def check(self) -> None:
        for name in ("size", "k", "window", "probes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{self.name()}: {name} must be at least 1, but {value} was given")
        if self.probes is not None and self.search != "faiss":
            raise ValueError(f"{self.name()}: probes are for search=faiss; an exact search compares all keys")
        if self.layer is not None and self.layer < 0:
            raise ValueError(f"{self.name()}: layer must be at least 0, the first, but {self.layer} was given")
        if not 0 < self.gate < 1:
            raise ValueError(f"{self.name()}: gate must be above 0 and below 1, but {self.gate} was given")

    def module(self, site: Site, mixer: MixerModule) -> MixerMemory:
        self.check_keys(site, mixer)
        if not isinstance(mixer, SoftmaxMixer):
            raise Unsupported(
                f"memory {self} cannot be added to {mixer.built_by or type(mixer).__name__}: it looks up by the "
                "products of queries and keys. Use softmax(), or memory recurrent()"
            )
        layer = max(0, 3 * site.layers // 4 - 1) if self.layer is None else self.layer
        if layer >= site.layers:
            raise ValueError(f"{self}: layer must be from 0 to {site.layers - 1}, the last of the model's layers")
        window = self.window_in(site.context_length)
        if self.search == "faiss" and self.size + window < lookup.FEWEST_IN_LISTS:
            raise ValueError(
                f"{self}: fewer than {lookup.FEWEST_IN_LISTS:,} keys are all compared, and this memory holds "
                f"{self.size}, and {window} of its window; leave out search=faiss, or give a larger size"
            )
        return LookupMemory(self, window, site.heads) if site.layer == layer else WindowMemory(window)

    def tokens(self, context_length: int) -> int:
        return self.size + self.window_in(context_length)

    def reach(self, layers: int, context_length: int) -> int:
        return self.size + self.window_in(context_length) * layers

    def window_in(self, context_length: int) -> int:
        """Return how many tokens every layer attends to in a model of this length."""
        return self.window or max(1, context_length // 2)


@dataclass(frozen=True)
class WindowState(State):
    """The last tokens, as a mixer saw them."""

    local: Remembered
    "Those of the window."

    def reorder(self, rows: Tensor) -> Self:
        seen_b = self.seen_b.index_select(0, rows.to(self.seen_b.device))
        return replace(self, seen_b=seen_b, local=self.local.reorder(rows))

    def reset(self, rows_b: Tensor) -> Self:
        return replace(self, seen_b=self.seen_b.masked_fill(rows_b, 0), local=self.local.without(rows_b))


@dataclass(frozen=True)
class LookupState(WindowState):
    """The last tokens, and keys and values of these and of those before them."""

    past: Fifo = field(kw_only=True)
    "Of the window and of the memory."

    def changed(self, of_tensor: Callable[[Tensor], Tensor], of_state: Callable[[State], State]) -> Self:
        changed = super().changed(of_tensor, of_state)
        return replace(changed, past=changed.past.apart())

    def reorder(self, rows: Tensor) -> Self:
        return replace(super().reorder(rows), past=self.past.reorder(rows))

    def reset(self, rows_b: Tensor) -> Self:
        return replace(super().reset(rows_b), past=self.past.without(rows_b))


class WindowMemory(MixerMemory):
    """Attention to the last `window` tokens."""

    states: ClassVar[tuple[type[State], ...]] = (WindowState,)

    def __init__(self, window: int):
        super().__init__()
        self.window = window

    def forward(self, given: MemoryInput) -> tuple[Tensor, State | None]:
        mixer, context = given.mixer, given.context
        y_bhlv, local = self.attend(mixer, context)
        return mixer.finish(y_bhlv, context), WindowState(context.seen_b, local)

    def attend(self, mixer: Any, context: Context) -> tuple[Tensor, Remembered]:
        """Return what the new tokens see in the window, (B, H, L, V), and the last tokens."""
        state = context.state
        assert state is None or isinstance(state, WindowState)
        q_bhlk, k_bglk, v_bglv = mixer.project(context)
        new = Remembered.of(context, k_bglk, v_bglv)
        seen = seen_together(mixer, () if state is None else (state.local,), new, k_bglk, v_bglv)
        bias = row_bias(mixer.score_position, context.positions_bl, seen.positions_bs)
        if seen.k_bgsk.shape[2] > self.window:
            bias = banded(bias, counts_of(seen.mask_bs, seen.k_bgsk), q_bhlk.shape[2], self.window)
        y_bhlv = mixer.attend_to(seen, q_bhlk, bias)
        return y_bhlv, new.last(self.window) if state is None else state.local.followed_by(new, self.window)


class LookupMemory(WindowMemory):
    """Attention to the last `window` tokens, mixed with that to the most like of the `size` tokens before them."""

    states: ClassVar[tuple[type[State], ...]] = (LookupState,)

    def __init__(self, part: Memorizing, window: int, heads: int):
        super().__init__(window)
        self.size, self.k, self.start = part.size, part.k, part.gate
        self.probes = (part.probes or _PROBES) if part.search == "faiss" else None
        self.gate_h = nn.Parameter(torch.empty(heads))
        self.log_scale_h = nn.Parameter(torch.empty(heads))
        self.init_weights(0.0)

    def init_weights(self, std: float) -> None:
        """Set all gates to the part's start, and the factors of cosines to theirs."""
        nn.init.constant_(self.gate_h, math.log(self.start / (1 - self.start)))
        nn.init.constant_(self.log_scale_h, math.log(_SCALE))

    def forward(self, given: MemoryInput) -> tuple[Tensor, State | None]:
        mixer, context = given.mixer, given.context
        near_bhlv, local = self.attend(mixer, context)
        state = context.state
        assert state is None or isinstance(state, LookupState)
        q_bhlk, k_bglk, v_bglv = _without_positions(mixer, context)
        new = Fifo(_normalized(k_bglk).to(v_bglv.dtype).detach(), v_bglv.detach(), context.mask_bl)
        seen = new if state is None else state.past.followed_by(new)
        found = self._find(_normalized(q_bhlk).to(v_bglv.dtype), seen)
        y_bhlv = self.touched(near_bhlv) if found is None else self._mixed(near_bhlv, found)
        past = seen.last(self.window + self.size)
        return mixer.finish(y_bhlv, context), LookupState(context.seen_b, local, past=past)

    def _find(self, q_bhlk: Tensor, seen: Fifo) -> Lookup | None:
        """Return what the queries look up; None where nobody has anything to."""
        old = seen.k_bgsk.shape[2] - self.window  # of these, the last query may look each up
        if old <= 0:
            return None
        band = (self.window, self.window + self.size)
        counts_bs = counts_of(seen.mask_bs, seen.k_bgsk)
        new, stored = slice(-q_bhlk.shape[2], None), self._stored(seen)
        search = Search(seen.cut(slice(None, old)), counts_bs[:, :old], counts_bs[:, new], band, self.k, stored)
        return look_up(q_bhlk, search, self.log_scale_h.exp())

    def _stored(self, seen: Fifo) -> StoredKeys | None:
        """Return where the keys lie for lists; None where all are compared, as in a compiled model."""
        end = seen.ends[0]
        if self.probes is None or end is None:
            return None
        return StoredKeys(end.storage, end.stop - seen.k_bgsk.shape[2], self.probes)

    def _mixed(self, near_bhlv: Tensor, found: Lookup) -> Tensor:
        share_bhl1 = self.gate_h.sigmoid().view(1, -1, 1, 1).to(near_bhlv.dtype) * found.any_b1l1
        return torch.lerp(near_bhlv, found.y_bhlv.to(near_bhlv.dtype), share_bhl1.expand_as(near_bhlv))


def _normalized(x: Tensor) -> Tensor:
    """Return x / √(‖x‖² + ε), in float32 or wider."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * (x.square().sum(-1, keepdim=True) + _EPS).rsqrt()


def _without_positions(mixer: Any, context: Context) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values of the content alone: where a position turns heads, all stand at 0."""
    q_bhlk, k_bglk, v_bglv = mixer.project(replace(context, positions_bl=torch.zeros_like(context.positions_bl)))
    return q_bhlk, k_bglk, v_bglv
