"""Masks of masked language modelling."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from formers.tasks.task import Example

IGNORED = -100
"""The label of a token that is not to be found."""
_MASKED, _REPLACED = 0.8, 0.1


@dataclass(frozen=True)
class Masking:
    """Hides tokens: of those that are to be found 80 % become the mask, 10 % any token, and 10 % stay what they are.

    Attributes:
        rate: the share of the tokens that is to be found; at least one is.
        mask: the number of the mask.
        ordinary: the numbers of tokens that may replace another.
    """

    rate: float
    mask: int
    ordinary: tuple[int, ...]

    def hide(self, ids: Tensor, word_starts: Tensor | None, stream: random.Random) -> Example:
        """Return a text with some tokens hidden, and as labels the tokens that are to be found, else −100; (L,) each.

        Args:
            ids: (L,).
            word_starts: which tokens begin a word, (L,): whole words are chosen, until they have so many tokens.
        """
        wanted = max(1, round(self.rate * len(ids)))
        chosen = stream.sample(range(len(ids)), wanted) if word_starts is None else _words(word_starts, wanted, stream)
        inputs, labels = ids.clone(), torch.full_like(ids, IGNORED)
        for at in chosen:
            labels[at] = ids[at]
            way = stream.random()
            if way < _MASKED:
                inputs[at] = self.mask
            elif way < _MASKED + _REPLACED:
                inputs[at] = stream.choice(self.ordinary)
        return {"input_ids": inputs, "labels": labels}


def _words(word_starts: Tensor, wanted: int, stream: random.Random) -> list[int]:
    """Return the places of the tokens of random words, until there are so many."""
    starts = [0, *(word_starts[1:].nonzero().flatten() + 1).tolist(), len(word_starts)]
    words = [range(first, last) for first, last in pairwise(starts)]
    stream.shuffle(words)
    chosen = list[int]()
    for word in words:
        if len(chosen) < wanted:
            chosen += word
    return chosen
