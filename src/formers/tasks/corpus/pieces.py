"""A Hugging Face tokenizer as the reader of a corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from formers.part import shortened
from formers.tasks.characters import Characters

_MASK = "[MASK]"
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Pieces:
    """Texts as the numbers of a tokenizer's pieces, without the special ones that it sets around a text.

    A model saved with it has the tokenizer's files beside it, so that `AutoTokenizer` and pipelines find them.

    Attributes:
        tokenizer: Hugging Face's.
        special: whether the names of special pieces that stand in a text, such as `<|endoftext|>`, are read as these;
            otherwise they are text like any other.
    """

    unit: ClassVar[str] = "token"
    "What a number stands for."
    tokenizer: Any
    special: bool = False

    def __len__(self) -> int:
        return len(self.tokenizer)

    @cached_property
    def end(self) -> int | None:
        """The number that ends a document: the tokenizer's end of text, or its separator; None where it has neither."""
        found = self.tokenizer.eos_token_id
        return self.tokenizer.sep_token_id if found is None else found

    @property
    def start(self) -> str:
        """The text that a model goes on with unless told otherwise: a line break."""
        return "\n"

    @classmethod
    def load(cls, folder: Path) -> Pieces:
        """Return the tokenizer beside a model. Raise ValueError where it is damaged."""
        from transformers import AutoTokenizer

        try:
            return cls(AutoTokenizer.from_pretrained(folder))
        except Exception as error:  # the tokenizers library raises plain ones
            raise ValueError(f"the tokenizer in {folder} cannot be read: {shortened(str(error), 200)}") from None

    def check_size(self, vocab_size: int, folder: Path) -> None:
        """Raise ValueError unless a model of so many tokens, loaded from the folder, knows all of these."""
        if len(self) > vocab_size:
            raise ValueError(
                f"the tokenizer in {folder} has {len(self)} tokens, but the model was trained on {vocab_size}: it is "
                "another model's; copy the model's folder again, or train the model again"
            )

    @property
    def mask(self) -> int:
        """The number that hides a piece. Raise ValueError where the tokenizer has none: see `with_mask`."""
        if self.tokenizer.mask_token_id is None:
            raise ValueError("the tokenizer has no token for masks")
        return int(self.tokenizer.mask_token_id)

    def with_mask(self) -> Pieces:
        """Return these pieces with a token for masks, added to the tokenizer where it has none."""
        if self.tokenizer.mask_token_id is None:
            self.tokenizer.add_special_tokens({"mask_token": _MASK})
        return self

    @cached_property
    def ordinary(self) -> list[int]:
        """The numbers of all pieces that are not special, which a text is made of."""
        special = set(self.tokenizer.all_special_ids)
        return [i for i in range(len(self)) if i not in special]

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's pieces, (L,) int64.

        Raise ValueError for characters that the tokenizer neither knows nor has a number for as unknown ones.
        """
        try:
            return torch.tensor(self._read(text)["input_ids"], dtype=torch.long)
        except Exception as error:  # the tokenizers library raises plain ones
            unknown = sorted(set(text) - set(self.without_unknown(text)))
            if not unknown:
                raise
            raise ValueError(f"the tokenizer does not know the characters {unknown[:20]}") from error

    def without_unknown(self, text: str) -> str:
        """Return a text without the characters that the tokenizer does not know."""
        known = {character for character in set(text) if self._knows(character)}
        return "".join(character for character in text if character in known)

    def _knows(self, character: str) -> bool:
        try:
            ids = self._read(character)["input_ids"]
        except Exception:  # the tokenizers library raises plain ones
            return False
        return self.tokenizer.unk_token_id not in ids

    def word_starts(self, text: str) -> Tensor:
        """Return which of a text's pieces begin a word or are none of a word, (L,) bool.

        Words are runs of letters and digits, and every other sign that is no space. The pieces of a text as `encode`
        gives them; one that lies before a word, such as its space, belongs to it.

        Raise ValueError for a tokenizer that does not say where its pieces lie in the text.
        """
        if not self.tokenizer.is_fast:
            raise ValueError(f"{type(self.tokenizer).__name__} does not say where its pieces lie; mask pieces alone")
        ends = {i: match.end() for match in _WORD.finditer(text) for i in range(match.start(), match.end())}
        starts, word_end = list[bool](), -1
        for first, last in self._read(text, return_offsets_mapping=True)["offset_mapping"]:
            while first < last - 1 and first not in ends:
                first += 1  # the space before a word
            starts.append(first >= word_end)
            word_end = ends.get(first, last) if starts[-1] else word_end
        return torch.tensor(starts, dtype=torch.bool)

    def decode(self, ids: Tensor) -> str:
        """Return the text of some numbers, (L,), without special pieces."""
        text: str = self.tokenizer.decode(ids.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files beside a model."""
        self.tokenizer.save_pretrained(folder)

    def _read(self, text: str, **options: bool) -> Any:
        options |= {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        return self.tokenizer(text, split_special_tokens=not self.special, **options)


class BytePieces(Pieces):
    """Pieces that are the bytes of a text: read without the tokenizer, which takes 200 bytes of memory for each."""

    def encode(self, text: str) -> Tensor:
        return byte_values(text)


class CharacterPieces(Pieces):
    """Pieces that are the characters of a text, numbered in their order: read without the tokenizer, as bytes are."""

    @cached_property
    def characters(self) -> Characters:
        """The alphabet, without the special pieces, which come behind it."""
        numbers = self.tokenizer.get_vocab()
        return Characters("".join(sorted((piece for piece in numbers if len(piece) == 1), key=numbers.__getitem__)))

    def encode(self, text: str) -> Tensor:
        return self.characters.encode(text)


PLAIN: Mapping[str, type[Pieces]] = {"bytes": BytePieces, "characters": CharacterPieces}
"""Kinds of tokens that need no tokenizer to be read."""


def byte_values(text: str) -> Tensor:
    """Return the UTF-8 bytes of a text, (N,) int64."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long() if text else torch.empty(0).long()
