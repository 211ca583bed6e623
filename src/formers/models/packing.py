"""Rows that hold several documents: where these begin, as Hugging Face's padding-free batches say it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from formers.mixers.documents import Documents
from formers.ops import can_read, require_data
from formers.part import Unsupported

_COMPILED = (
    "position_ids begin again in a row, or seq_idx or padding was given beside documents, but a compiled model cannot "
    "look at numbers; give cu_seq_lens_q and max_length_q alone (return_flash_attn_kwargs=True of "
    "DataCollatorWithFlattening makes them)"
)


class DocumentHints(NamedTuple):
    """What `DataCollatorWithFlattening` makes beside `position_ids`, under Hugging Face's names.

    Attributes:
        seq_idx: the number of each token's document, (B, L) or (1, L); it never falls within a row.
        cu_seq_lens_q, cu_seq_lens_k: where each document begins among the B·L tokens, and B·L at the end; equal.
        max_length_q, max_length_k: tokens of the longest document; equal.
    """

    seq_idx: Tensor | None = None
    cu_seq_lens_q: Tensor | None = None
    cu_seq_lens_k: Tensor | None = None
    max_length_q: int | None = None
    max_length_k: int | None = None


NO_HINTS = DocumentHints()
"""Nothing but positions tells documents apart."""


def find_documents(
    hints: DocumentHints, position_ids: Tensor | None, mask_bl: Tensor | None, tokens: Tensor
) -> Documents | None:
    """Return the documents that rows of tokens hold; None if each holds one.

    They begin where `seq_idx` or `cu_seq_lens_q` say so; without either, where `position_ids` begin again.

    Args:
        hints: boundaries that were given.
        position_ids: (B, L) or (1, L); those of padding do not count.
        mask_bl: True = a real token, (B, L); None = all real.
        tokens: the rows, (B, L) or (B, L, D).

    Raise ValueError for hints that contradict each other or the tokens, and for positions that neither count on nor
    begin again. In a compiled model only `cu_seq_lens_q` with `max_length_q` tell documents apart: Raise ValueError for
    `seq_idx`; RuntimeError, when it runs, for positions that begin again.
    """
    _check_keys(hints)
    if hints.seq_idx is not None or hints.cu_seq_lens_q is not None:
        if not can_read(tokens):
            return _unread_documents(hints, mask_bl, tokens)
        starts_bl: Tensor | None = _told_starts(hints, tokens)
    else:
        starts_bl = None if position_ids is None else _starts_by_position(position_ids, mask_bl, tokens)
    if starts_bl is None:
        return None
    documents = Documents.starting_at(starts_bl, mask_bl)
    lengths, rows = documents.lengths or (), len(tokens) if mask_bl is None else int(mask_bl.any(1).sum())
    if hints.max_length_q is not None and hints.max_length_q < max(lengths, default=0):
        raise ValueError(f"max_length_q={hints.max_length_q} was given, but a document has {max(lengths)} tokens")
    return documents if len(lengths) > rows else None


def _check_keys(hints: DocumentHints) -> None:
    """Raise ValueError if the boundaries of keys are others than those of queries."""
    queries, keys = hints.cu_seq_lens_q, hints.cu_seq_lens_k
    wrong = ValueError(
        "cu_seq_lens_k and max_length_k must equal cu_seq_lens_q and max_length_q, or be left out: tokens attend to "
        "those of their own rows"
    )
    if hints.max_length_k not in (None, hints.max_length_q):
        raise wrong
    if keys is not None:
        if queries is None or keys.shape != queries.shape:
            raise wrong
        require_data(keys == queries, wrong)


def _told_starts(hints: DocumentHints, tokens: Tensor) -> Tensor:
    """Return where documents begin by `seq_idx` or `cu_seq_lens_q`, (B, L) booleans."""
    told = []
    if hints.seq_idx is not None:
        told.append(_starts_by_number(hints.seq_idx, tokens))
    if hints.cu_seq_lens_q is not None:
        told.append(_starts_by_bounds(hints.cu_seq_lens_q, tokens))
    if len(told) > 1 and not torch.equal(*told):
        raise ValueError("seq_idx and cu_seq_lens_q let documents begin at different tokens; give one of the two")
    return told[0]


def _starts_by_number(seq_idx: Tensor, tokens: Tensor) -> Tensor:
    batch, length = tokens.shape[:2]
    if tuple(seq_idx.shape) not in ((batch, length), (1, length)):
        raise ValueError(
            f"seq_idx has shape {tuple(seq_idx.shape)}; expected ({batch}, {length}), each token's document"
        )
    step_bl = seq_idx.expand(batch, -1).diff(dim=1, prepend=seq_idx[:, :1].expand(batch, -1))
    if bool((step_bl < 0).any()):
        raise ValueError(
            "seq_idx falls within a row, but documents lie one after the other; number them in their order, and mark "
            "padding by attention_mask"
        )
    return _with_first(step_bl > 0)


def _starts_by_bounds(bounds: Tensor, tokens: Tensor) -> Tensor:
    batch, length = tokens.shape[:2]
    begin_n = bounds.long()
    rising = bounds.ndim == 1 and len(bounds) > 1 and bool((begin_n.diff() >= 0).all())
    if not rising or int(begin_n[0]) != 0 or int(begin_n[-1]) != batch * length:
        raise ValueError(
            f"cu_seq_lens_q must rise from 0 to the {batch * length} tokens of the batch, padding included, but "
            f"{bounds.tolist()} was given"
        )
    begins_t = torch.zeros(batch * length + 1, dtype=torch.bool, device=tokens.device)
    starts_bl = begins_t.index_fill(0, begin_n.to(tokens.device), True)[:-1].view(batch, length)
    if not bool(starts_bl[:, 0].all()):
        raise ValueError("cu_seq_lens_q lets a document go on in the next row; let one begin with every row")
    return starts_bl


def _starts_by_position(position_ids: Tensor, mask_bl: Tensor | None, tokens: Tensor) -> Tensor | None:
    """Return where positions of real tokens begin again, (B, L) booleans; None where all of them count on.

    A position counts on that is larger than that of the last real token, by no more than the tokens between them.
    """
    batch, length = tokens.shape[:2]
    if length < 2:
        return None
    positions_bl = position_ids.expand(batch, -1)
    index_l = torch.arange(length, device=positions_bl.device)
    real_bl = torch.ones_like(positions_bl, dtype=torch.bool) if mask_bl is None else mask_bl
    last_bl = torch.where(real_bl, index_l, -1).cummax(1).values.roll(1, 1)  # the last real token before each
    inside_bl = real_bl & (last_bl >= 0) & (index_l > 0)
    step_bl = positions_bl - positions_bl.gather(1, last_bl.clamp(min=0))
    counts_on_bl = ~inside_bl | ((step_bl > 0) & (step_bl <= index_l - last_bl))
    if not can_read(counts_on_bl):
        require_data(counts_on_bl, ValueError(_COMPILED))
        return None
    if bool(counts_on_bl.all()):
        return None
    first_b1 = positions_bl.gather(1, real_bl.long().argmax(1, keepdim=True))
    again_bl = inside_bl & ((step_bl < 0) | ((step_bl == 0) & (positions_bl == first_b1)))
    _check_clear(positions_bl, counts_on_bl | again_bl)
    return _with_first(again_bl)


def _check_clear(positions_bl: Tensor, clear_bl: Tensor) -> None:
    """Raise ValueError at the first position that neither counts on nor begins again."""
    if not bool(clear_bl.all()):
        row, place = (int(i) for i in (~clear_bl).nonzero()[0])
        raise ValueError(
            f"position_ids of row {row} come to {positions_bl[row, place]} at token {place}: no next position of the "
            "same document, nor the first of a new one. If it begins a document, or if all are one document with gaps, "
            "give seq_idx, the number of each token's document, (B, L)"
        )


def _with_first(starts_bl: Tensor) -> Tensor:
    """Return the same with a document beginning in every row."""
    return starts_bl | (torch.arange(starts_bl.shape[1], device=starts_bl.device) == 0)


def _unread_documents(hints: DocumentHints, mask_bl: Tensor | None, tokens: Tensor) -> Documents | None:
    """Return documents by numbers that cannot be looked at: their count and longest length must be known without."""
    if tokens.is_meta:
        return None
    bounds, longest = hints.cu_seq_lens_q, hints.max_length_q
    if bounds is None or longest is None or hints.seq_idx is not None or mask_bl is not None:
        raise ValueError(_COMPILED)
    batch, length = tokens.shape[:2]
    start_n = bounds.long()
    fits = (start_n[0] == 0) & (start_n[-1] == batch * length)
    for holds, what in (
        (start_n.diff() >= 0, "must not fall"),
        (start_n.diff() <= longest, "has a document longer than max_length_q"),
        (fits, "must go from 0 to the number of tokens"),
        (torch.isin(length * torch.arange(batch, device=start_n.device), start_n), "must hold the beginning of rows"),
    ):
        require_data(holds, ValueError(f"cu_seq_lens_q {what}"))
    return Documents((batch, length), start_n, longest, None)


def check_not_refused(one_document_a_row: bool) -> None:
    """Raise Unsupported if rows must hold one document each, as they hold several."""
    if one_document_a_row:
        raise Unsupported(
            "the model gives one answer a row, but rows hold several documents (position_ids begin again, or seq_idx "
            "or cu_seq_lens_q says so); give each document a row, padded, or use a TokenClassifier"
        )


def check_no_cache(past: Cache | None, use_cache: bool | None) -> None:
    """Raise Unsupported if a cache is given or asked for, as it is for rows of packed documents."""
    if past is not None or use_cache:
        what = "past_key_values were given" if past is not None else "use_cache=True was given"
        raise Unsupported(
            f"rows hold several documents (position_ids begin again, or seq_idx or cu_seq_lens_q says so), and {what}: "
            "a state goes on from one row, not from each document in it. Give each document a row, padded on the left, "
            "or leave out the cache"
        )
