"""A Hugging Face tokenizer as the vocabulary of texts to classify."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TokenizerVocabulary:
    """Encodes a text or a pair as a pretrained model reads it: with the tokenizer's special tokens, and cut by it.

    Attributes:
        tokenizer: Hugging Face's.
        length: tokens that are kept; the longer text of a pair is cut first.
    """

    tokenizer: Any
    length: int

    def __len__(self) -> int:
        return len(self.tokenizer)

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """The tokens by their numbers."""
        return tuple(map(str, self.tokenizer.convert_ids_to_tokens(range(len(self)))))

    def encode(self, texts: tuple[str, ...]) -> list[int]:
        """Return the numbers of a text, or of a pair. Names of special tokens in a text are text like any other."""
        options = {"truncation": True, "max_length": self.length, "split_special_tokens": True}
        ids: list[int] = self.tokenizer(*texts, **options)["input_ids"]
        return ids

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files beside a model."""
        self.tokenizer.save_pretrained(folder)
