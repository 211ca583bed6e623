"""Texts to the numbers of a model's tokens and back, whether it has an alphabet or a Hugging Face tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from formers.part import shortened

if TYPE_CHECKING:
    from formers.tasks.characters import Characters


class EvaluationCoder(Protocol):
    """What an evaluation needs of a tokenizer."""

    @property
    def start(self) -> int | None:
        """The token that a text without anything before it begins after; None where there is none."""

    @property
    def end(self) -> int | None:
        """The token that ends a text; None where there is none."""

    def encode(self, text: str, *, whole: bool = True) -> list[int]:
        """Return the tokens of a text; of a `whole` one with the token before it that the model expects."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, without special ones."""

    def identity(self) -> str:
        """Return a text in which coders differ that read or write anything in another way."""


@dataclass(frozen=True)
class AlphabetCoder:
    """Characters of a model that has an alphabet: a text begins after a line break, and none ends."""

    characters: Characters
    end: int | None = None

    @property
    def start(self) -> int:
        return self.characters.number[self.characters.start]

    def encode(self, text: str, *, whole: bool = True) -> list[int]:
        """Return the numbers of the characters. Raise ValueError for those outside the alphabet."""
        ids: list[int] = self.characters.encode(text).tolist()
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.characters.alphabet[i] for i in ids)

    def identity(self) -> str:
        return repr((self.characters.alphabet, self.start, self.end))


@dataclass(frozen=True)
class TokenizerCoder:
    """A Hugging Face tokenizer: a whole text begins with the token that the tokenizer sets before each, if it does.

    No other special token is set around a text: a separator behind it would end what is to be continued.
    """

    tokenizer: Any

    @cached_property
    def start(self) -> int | None:
        found = self.tokenizer.bos_token_id
        return self.end if found is None else found

    @cached_property
    def end(self) -> int | None:
        found = self.tokenizer.eos_token_id
        return self.tokenizer.sep_token_id if found is None else found

    @cached_property
    def _before_each(self) -> list[int]:
        """The tokens that the tokenizer sets before a text, if that is what begins a text."""
        begin = self.tokenizer.bos_token_id
        return [begin] if begin is not None and self.tokenizer("")["input_ids"][:1] == [begin] else []

    def encode(self, text: str, *, whole: bool = True) -> list[int]:
        """Return the tokens. Raise ValueError for a text that the tokenizer refuses."""
        try:
            ids: list[int] = self.tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)[
                "input_ids"
            ]
        except Exception as error:  # the tokenizers library raises plain ones
            raise ValueError(
                f"the model's tokenizer cannot read {shortened(repr(text), 80)}: {shortened(str(error), 200)}"
            ) from None
        before = self._before_each if whole else []
        return ids if ids[: len(before)] == before else [*before, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def identity(self) -> str:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = json.dumps(self.tokenizer.get_vocab(), sort_keys=True) if backend is None else backend.to_str()
        return repr((self.start, self.end, self._before_each, self.tokenizer.special_tokens_map, rules))
