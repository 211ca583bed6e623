"""The context of a mixing step: the new tokens, their positions, and what came before them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from formers.mixers.documents import Documents, GlobalMask, Mask
from formers.ops import Packing, can_read, read_once, unpad_input
from formers.part import State


@dataclass(frozen=True)
class Context:
    """Everything that a mixing step may ask for beside its queries, keys and values.

    Attributes:
        x_bld: hidden states of the new tokens, (B, L, D): zeros at padding, the layer's position applied.
        positions_bl: position of each token, (B or 1, L).
        mask_bl: True = a real token, False = padding, (B, L); None = all real.
        state: what came before, of a type that the mixer declares, or None at the start.
        global_bl: True = a token that sees all and is seen by all, (B, L), for mixers with the ability `global_tokens`;
            None = as the mixer's own options say.
        most_global: the most global tokens that any row has, or more; None where it has not been read.
        length_b: real tokens of each row, (B,), where padding is behind them; None where it may be elsewhere.
        keep_state: whether the state after the new tokens is asked for. Without, a mixer may give None in its place,
            and should where it would have to be made.
    """

    x_bld: Tensor
    positions_bl: Tensor
    mask_bl: Tensor | None = None
    state: State | None = None
    global_bl: Tensor | None = None
    most_global: int | None = None
    length_b: Tensor | None = None
    keep_state: bool = True

    @property
    def counts_bl(self) -> Tensor:
        """The number of real tokens up to and including each one, those in the state too: (B or 1, L), int64."""
        return count_tokens(self.x_bld, self.mask_bl, self.state)

    @property
    def seen_b(self) -> Tensor:
        """`State.seen_b` after these tokens, (B,)."""
        return seen_after(self.x_bld, self.mask_bl, self.state)

    def with_global(self, global_bl: Tensor | None) -> Context:
        """Return the same context with these global tokens, without those at padding; itself for None."""
        if global_bl is None:
            return self
        most = read_once(global_bl, "most", lambda t: int(t.sum(1).max())) if can_read(global_bl) else None
        real = global_bl if self.mask_bl is None else global_bl & self.mask_bl
        return replace(self, global_bl=real, most_global=most)

    def unpad(self, pack: Packing) -> Context:
        """Return the same context with the real tokens of each row first and padding behind."""
        rows, length, _ = self.x_bld.shape
        real_bl = torch.arange(length, device=self.x_bld.device) < pack.length_b.unsqueeze(1)
        positions_bl = self.positions_bl.expand(rows, -1).gather(1, pack.source_bl)
        global_bl = None if self.global_bl is None else self.global_bl.gather(1, pack.source_bl) & real_bl
        return replace(
            self,
            x_bld=unpad_input(self.x_bld, pack),
            positions_bl=positions_bl,
            mask_bl=real_bl,
            global_bl=global_bl,
            length_b=pack.length_b,
        )

    def rows(self, rows: Tensor) -> Context:
        """Return the context of some rows of the batch, without the state."""
        positions_bl, mask_bl = self.positions_bl, self.mask_bl
        return Context(
            self.x_bld.index_select(0, rows),
            positions_bl if len(positions_bl) == 1 else positions_bl.index_select(0, rows),
            None if mask_bl is None else mask_bl.index_select(0, rows),
        )

    def piece(self, start: int, stop: int, state: State | None) -> Context:
        """Return the context of the tokens start … stop − 1, with the state after those before them.

        Of tokens whose padding is behind them, a first piece has all real ones.
        """
        mask_bl, global_bl = (None if t is None else t[:, start:stop] for t in (self.mask_bl, self.global_bl))
        x_bld, positions_bl = self.x_bld[:, start:stop], self.positions_bl[:, start:stop]
        length_b = None if start else self.length_b
        return Context(x_bld, positions_bl, mask_bl, state, global_bl, self.most_global, length_b)


def count_tokens(x_bld: Tensor, mask_bl: Mask, state: State | None) -> Tensor:
    """Return the number of real tokens up to and including each one, those in the state too: (B or 1, L), int64.

    In each of several documents the count begins anew.
    """
    if isinstance(mask_bl, GlobalMask):
        mask_bl = mask_bl.mask
    if isinstance(mask_bl, Documents):
        return mask_bl.counts_bl
    if mask_bl is None and state is not None and x_bld.shape[1] == 1:
        return state.seen_b.unsqueeze(-1).to(x_bld.device) + 1
    if mask_bl is None:
        counts_bl = torch.arange(1, x_bld.shape[1] + 1, device=x_bld.device).unsqueeze(0)
    else:
        counts_bl = mask_bl.long().cumsum(-1)
    counts_bl = counts_bl if state is None else counts_bl + state.seen_b.unsqueeze(-1).to(counts_bl.device)
    return counts_bl if mask_bl is None else counts_bl.clamp(min=1)


def seen_after(x_bld: Tensor, mask_bl: Tensor | None, state: State | None) -> Tensor:
    """Return `State.seen_b` after these tokens, (B,)."""
    if mask_bl is not None:
        new_b = mask_bl.long().sum(-1)
        return new_b if state is None else new_b.to(state.seen_b.device) + state.seen_b
    batch, length, _ = x_bld.shape
    return torch.full((batch,), length, device=x_bld.device) if state is None else state.seen_b + length
