"""What a mixer takes in the place of a mask: documents that are packed into rows, and tokens that are global in a row.

Each document is mixed alone, and its outputs are put back where its tokens lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor

from formers.part import Part, Unsupported

Grouping: TypeAlias = Literal["near", "equal", "all"]
"""Documents that are mixed in one batch: those at least half as long as its longest, those of one length, or all."""


class DocumentBatch(NamedTuple):
    """Some documents as the rows of a batch, padded on the right.

    Attributes:
        index_nm: where each token lies among the B·L tokens of the packed rows, (N, M); anywhere at padding.
        mask_nm: True = a token, False = padding, (N, M); None = all documents are equally long.
        share: of all real tokens that these are.
    """

    index_nm: Tensor
    mask_nm: Tensor | None
    share: float

    def take(self, t_blx: Tensor) -> Tensor:
        """Return what belongs to the tokens of packed rows, (B, L, …), for those of the batch, (N, M, …)."""
        found = t_blx.flatten(0, 1).index_select(0, self.index_nm.flatten())
        return found.view(*self.index_nm.shape, *t_blx.shape[2:])


class _Plan(NamedTuple):
    """Batches of documents, and where each real token stands in their outputs one after the other."""

    batches: tuple[DocumentBatch, ...]
    back_t: Tensor


@dataclass(frozen=True, eq=False)
class Documents:
    """Which tokens of a batch of rows belong together, where a row holds several documents one after the other.

    A mixer takes it in the place of a mask, and mixes each document alone. Padding belongs to none.

    Attributes:
        shape: B and L of the packed rows.
        start_n: where each document begins among the real tokens, and behind the last one their number, (N + 1).
        longest: tokens of the longest document, or more.
        lengths: of each document; None where it is not known yet, in a model that is compiled.
        place_t: where each real token lies among the B·L; None = all are real.
    """

    shape: tuple[int, int]
    start_n: Tensor
    longest: int
    lengths: tuple[int, ...] | None
    place_t: Tensor | None = None
    _plans: dict[Grouping, _Plan] = field(default_factory=dict, repr=False)
    _copies: dict[torch.device, Documents] = field(default_factory=dict, repr=False)

    @classmethod
    def starting_at(cls, starts_bl: Tensor, mask_bl: Tensor | None = None) -> Self:
        """Return the documents that begin where `starts_bl` is True, and at the beginning of every row.

        Args:
            starts_bl: booleans, (B, L).
            mask_bl: True = a real token, False = padding, (B, L); None = all real.
        """
        batch, length = starts_bl.shape
        at_row = torch.arange(length, device=starts_bl.device) == 0
        number_t = (starts_bl | at_row).flatten().cumsum(0)
        place_t = None if mask_bl is None else mask_bl.flatten().nonzero().squeeze(1)
        number_t = number_t if place_t is None else number_t[place_t]
        first_t = number_t.diff(prepend=number_t.new_zeros(1)) != 0
        start_n = torch.cat([first_t.nonzero().squeeze(1), number_t.new_full((1,), len(number_t))])
        lengths = tuple(start_n.diff().tolist())
        return cls((batch, length), start_n, max(lengths, default=0), lengths, place_t)

    @classmethod
    def numbered(cls, number_bl: Tensor, mask_bl: Tensor | None = None) -> Self:
        """Return the documents of rows whose tokens carry their document's number, (B, L): a new one, a new document.

        `mask_bl` as in `starting_at`.
        """
        return cls.starting_at(number_bl.diff(prepend=number_bl[:, :1], dim=1) != 0, mask_bl)

    def to(self, device: torch.device | str | int, *, non_blocking: bool = False) -> Documents:
        """Return the same on another device, copied once for all layers there, as accelerate asks for each of them."""
        device = torch.empty(0, device=device).device  # with the number that "cuda" leaves out
        if device == self.start_n.device:
            return self
        if device not in self._copies:
            start_n = self.start_n.to(device, non_blocking=non_blocking)
            place_t = None if self.place_t is None else self.place_t.to(device, non_blocking=non_blocking)
            self._copies[device] = Documents(self.shape, start_n, self.longest, self.lengths, place_t)
        return self._copies[device]

    @property
    def mask_bl(self) -> Tensor:
        """True = a real token, False = padding, (B, L)."""
        return self._in_rows(torch.ones(self._total, dtype=torch.bool, device=self.start_n.device), False)

    @property
    def counts_bl(self) -> Tensor:
        """The number of tokens of its document up to and including each one, (B, L), int64; 1 at padding."""
        token_t = torch.arange(self._total, device=self.start_n.device)
        count_t = token_t - self.start_n[self._document_of(token_t)] + 1
        return self._in_rows(count_t, 1)

    def map(self, mix: Callable[[DocumentBatch], Tensor], grouping: Grouping) -> Tensor:
        """Return the outputs of `mix` for every batch of documents, (N, M, D), as those of the rows, (B, L, D).

        They are zero at padding. Raise Unsupported for documents grouped by lengths that are not known.
        """
        plan = self._plan(grouping)
        y_td = torch.cat([mix(batch).flatten(0, 1) for batch in plan.batches]).index_select(0, plan.back_t)
        return self._in_rows(y_td, 0)

    @property
    def _total(self) -> int:
        return self.shape[0] * self.shape[1] if self.place_t is None else len(self.place_t)

    def _document_of(self, token_t: Tensor) -> Tensor:
        return torch.searchsorted(self.start_n[1:], token_t, right=True)

    def _in_rows(self, of_real: Tensor, filling: float) -> Tensor:
        """Return what is there for each real token in its place, (B, L, …)."""
        batch, length = self.shape
        if self.place_t is None:
            return of_real.view(batch, length, *of_real.shape[1:])
        rows = of_real.new_full((batch * length, *of_real.shape[1:]), filling)
        return rows.index_copy(0, self.place_t, of_real).view(batch, length, *of_real.shape[1:])

    def _plan(self, grouping: Grouping) -> _Plan:
        """Return the batches of a grouping, made once for all layers."""
        if grouping not in self._plans:
            self._plans[grouping] = self._made_plan(grouping)
        return self._plans[grouping]

    def _made_plan(self, grouping: Grouping) -> _Plan:
        device = self.start_n.device
        batches, before = [], 0
        offset_n = torch.zeros_like(self.start_n)
        for group, longest in self._groups(grouping):
            number_n = torch.as_tensor(group, device=device)
            batches.append(self._batch(number_n, longest, self._share(group), padded=not self._is_equal(group)))
            offset_n = offset_n.index_copy(0, number_n, before + longest * torch.arange(len(number_n), device=device))
            before += longest * len(number_n)
        token_t = torch.arange(self._total, device=device)
        document_t = self._document_of(token_t)
        return _Plan(tuple(batches), offset_n[document_t] + token_t - self.start_n[document_t])

    def _groups(self, grouping: Grouping) -> Sequence[tuple[Sequence[int] | Tensor, int]]:
        """Return the documents of each batch by their numbers, and their longest length."""
        if self.lengths is None:
            if grouping == "equal":
                raise Unsupported(
                    "documents of equal length are mixed together by a mixer that cannot leave out padding, but their "
                    "lengths are not known in a compiled model; run it without compiling, or use a mixer with the "
                    "ability padding"
                )
            return [(torch.arange(len(self.start_n) - 1, device=self.start_n.device), self.longest)]
        if grouping == "all":
            return [(range(len(self.lengths)), self.longest)]
        return _alike(self.lengths, least=1.0 if grouping == "equal" else 0.5)

    def _is_equal(self, group: Sequence[int] | Tensor) -> bool:
        return self.lengths is not None and len({self.lengths[int(n)] for n in group}) == 1

    def _share(self, group: Sequence[int] | Tensor) -> float:
        """Return the share of all real tokens that some documents hold; where lengths are not known, they are all."""
        return 1.0 if self.lengths is None else sum(self.lengths[int(n)] for n in group) / self._total

    def _batch(self, number_n: Tensor, longest: int, share: float, *, padded: bool) -> DocumentBatch:
        first_n1, last_n1 = (t[number_n].unsqueeze(1) for t in (self.start_n[:-1], self.start_n[1:]))
        index_nm = first_n1 + torch.arange(longest, device=number_n.device)
        mask_nm = index_nm < last_n1 if padded else None
        index_nm = index_nm.clamp(max=self._total - 1)
        return DocumentBatch(index_nm if self.place_t is None else self.place_t[index_nm], mask_nm, share)


def _alike(lengths: Sequence[int], *, least: float) -> list[tuple[list[int], int]]:
    """Return groups of documents in which each has at least this share of the longest's length."""
    groups: list[tuple[list[int], int]] = []
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        if not groups or lengths[number] < least * groups[-1][1]:
            groups.append(([], lengths[number]))
        groups[-1][0].append(number)
    return groups


class GlobalMask(NamedTuple):
    """Tokens that see all of their row and are seen by all, other ones in every row; beside which tokens are real.

    Attributes:
        mask: which tokens are real, and which of them belong together, as in `Mask`.
        global_bl: True = a global token, (B, L); padding is none, whatever stands there.
    """

    mask: Tensor | Documents | None
    global_bl: Tensor


Mask: TypeAlias = Tensor | Documents | GlobalMask | None
"""Which tokens are real, (B, L), and which of them belong together; None = all, and each row is one document. With
`GlobalMask`, which of them are global, too."""


def check_global_tokens(mixer: Part | None, causal: bool) -> None:
    """Raise Unsupported unless a mixer takes other global tokens in every row (`global_attention_mask`)."""
    if mixer is not None:
        why = "leave global_attention_mask out, or let every layer have a mixer that takes one"
        mixer.require("global_tokens", why=why, instead="longformer(tokens=[0])")
    if mixer is None or causal:
        raise Unsupported(
            f"{mixer or 'the mixer'} takes no global_attention_mask in a causal model, whose states forget what its "
            "pattern hides; there, global tokens are the same in every row, as its option tokens lists them"
        )
