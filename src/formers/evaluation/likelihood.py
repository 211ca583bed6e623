"""How likely continuations are after their contexts: exact sums of log-probabilities, in padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from formers.evaluation.text_model import TextModel
from formers.part import evaluating

_SCORES = 1 << 26
"""Scores of the vocabulary that are held at a time: 256 MB in float32."""


class LikelihoodRequest(NamedTuple):
    """Tokens, and those that stand before them."""

    context: Sequence[int]
    tokens: Sequence[int]


class LogLikelihood(NamedTuple):
    """log p of a continuation's tokens, in nats, and whether each of them is the likeliest."""

    nats: float
    is_greedy: bool


@dataclass
class _InputRow:
    """A row of inputs, and the continuations that end it: their numbers, and the tokens to be predicted."""

    inputs: tuple[int, ...]
    asked: list[tuple[int, Sequence[int]]] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """The places, from the end, where something is predicted."""
        return max(len(tokens) for _, tokens in self.asked)


def log_likelihoods(model: TextModel, asked: Sequence[LikelihoodRequest]) -> Iterator[tuple[int, LogLikelihood]]:
    """Yield the number of each continuation with its log p = Σ_i log p(t_i | context, t_0 … t_{i−1}), in any order.

    Rows of like length are read side by side, padded behind their ends under a mask; continuations of one token after
    one context share a row. A context that is too long loses its beginning (see `is_cut`), unless the model carries a
    memory, which then reads segment after segment.

    Raises:
        ValueError: for a continuation that is longer than what the model reads, and where nothing stands before it and
            the tokenizer has no token that begins a text.
    """
    for number, one in enumerate(asked):
        if not one.tokens:
            yield number, LogLikelihood(0.0, True)
    rows = _rows(model, asked)
    with evaluating(model.model):
        for batch in _batches(model, rows):
            kept = max(len(row.inputs) for row in batch) - min(len(row.inputs) - row.kept for row in batch)
            logits = _logits(model, [row.inputs for row in batch], kept)
            begin = max(len(row.inputs) for row in batch) - kept
            for row, scores in zip(batch, logits, strict=True):
                end = len(row.inputs) - begin
                log_p = scores[end - row.kept : end].float().log_softmax(-1)
                for number, tokens in row.asked:
                    yield number, _sum(log_p[len(log_p) - len(tokens) :], tokens)


def is_cut(model: TextModel, asked: LikelihoodRequest) -> bool:
    """Return whether a context loses its beginning, as it is longer than what the model reads."""
    return not model.carries and len(asked.context) + len(asked.tokens) > model.length + 1


def _sum(log_p: Tensor, tokens: Sequence[int]) -> LogLikelihood:
    """Return the log p of tokens from the distributions before each, (n, vocabulary)."""
    right = torch.tensor(tokens, device=log_p.device, dtype=torch.long)
    chosen = log_p.gather(-1, right[:, None])
    return LogLikelihood(float(chosen.double().sum()), bool((log_p.argmax(-1) == right).all()))


def _rows(model: TextModel, asked: Sequence[LikelihoodRequest]) -> list[_InputRow]:
    """Return the rows to be read, the longest first, each once."""
    rows: dict[tuple[int, ...], _InputRow] = {}
    for number, one in enumerate(asked):
        if not one.tokens:
            continue
        if not model.carries and len(one.tokens) > model.length:
            raise ValueError(
                f"a continuation of {len(one.tokens):,} tokens was asked for, and the model reads {model.length:,} at "
                "most; give a larger --length, if its positions allow it"
            )
        tokens = [*(one.context or _begin(model)), *one.tokens]
        inputs = tuple(tokens[:-1] if model.carries else tokens[-(model.length + 1) : -1])
        rows.setdefault(inputs, _InputRow(inputs)).asked.append((number, one.tokens))
    return sorted(rows.values(), key=lambda row: (-len(row.inputs), row.inputs))


def _begin(model: TextModel) -> list[int]:
    """Return the token that a text begins after. Raise ValueError where the tokenizer has none."""
    if model.coder.start is None:
        raise ValueError(
            "the task asks for the likelihood of a text with nothing before it, and the model's tokenizer has no token "
            "that begins or ends a text; take another task, or add such a token to the tokenizer"
        )
    return [model.coder.start]


def _batches(model: TextModel, rows: Sequence[_InputRow]) -> Iterator[list[_InputRow]]:
    """Yield rows that are read side by side: as many as memory has room for, and in segments, equally many of these."""
    vocabulary = model.model.config.get_text_config().vocab_size
    batch: list[_InputRow] = []
    for row in rows:
        together = [*batch, row]
        widest = max(len(r.inputs) for r in together) - min(len(r.inputs) - r.kept for r in together)
        full = len(batch) >= model.batch or widest * vocabulary * len(together) > _SCORES
        if batch and (full or _segments(model, row) != _segments(model, batch[0])):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _segments(model: TextModel, row: _InputRow) -> int:
    """Return the number of segments in which a row is read."""
    return -(-len(row.inputs) // model.length) if model.carries else 1


def _logits(model: TextModel, rows: Sequence[tuple[int, ...]], kept: int) -> Tensor:
    """Return the scores of the next token at the last `kept` places of a padded batch, (B, kept, vocabulary)."""
    ids_bl, mask_bl = padded(rows, left=False)
    ids_bl, mask_bl = ids_bl.to(model.model.device), mask_bl.to(model.model.device)
    if not model.carries:
        wanted = {"logits_to_keep": kept} if "logits_to_keep" in signature(model.model.forward).parameters else {}
        found: Tensor = model.model(input_ids=ids_bl, attention_mask=mask_bl, **wanted).logits
        return found[:, -kept:]
    memory = empty_memory()
    pieces = zip(ids_bl.split(model.length, 1), mask_bl.split(model.length, 1), strict=True)
    logits = [model.model(input_ids=ids, attention_mask=mask, **memory).logits for ids, mask in pieces]
    return torch.cat(logits, 1)[:, -kept:]


def empty_memory() -> dict[str, Any]:
    """Return the arguments of a model for a memory that it fills and moves on."""
    from formers.models import StateCache

    return {"past_key_values": StateCache()}


def padded(rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor]:
    """Return rows as one tensor of ids, filled with 0, and its mask of real tokens, (B, L) each."""
    length = max(map(len, rows))
    ids_bl = torch.zeros(len(rows), length, dtype=torch.long)
    mask_bl = torch.zeros(len(rows), length, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(0, len(row))
        ids_bl[number, place] = torch.tensor(row, dtype=torch.long)
        mask_bl[number, place] = 1
    return ids_bl, mask_bl
