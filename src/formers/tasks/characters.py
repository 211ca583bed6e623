"""An alphabet: characters to numbers and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

_FILE = "characters.json"
_REMEDY = "copy the model's folder again, or train the model again"


@dataclass(frozen=True)
class Characters:
    """The characters a model knows, in order: the number of a character is its place."""

    unit: ClassVar[str] = "character"
    "What a number stands for."
    alphabet: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the alphabet of a text: its distinct characters, sorted."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.alphabet)

    @cached_property
    def number(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.alphabet)}

    def encode(self, text: str) -> Tensor:
        """Return the numbers of the characters, (L,) int64. Raise `ValueError` for characters outside the alphabet."""
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        ids = self._number_of_point[np.minimum(points, len(self._number_of_point) - 1)]
        if (ids < 0).any():
            unknown = sorted(set(text) - self.number.keys())
            raise ValueError(f"the model does not know the characters {unknown}; it knows {self.alphabet!r}")
        return torch.from_numpy(ids)

    @cached_property
    def _number_of_point(self) -> np.ndarray:
        """Code point → the number of its character, −1 for unknown ones; the last one is above all that are known."""
        points = [ord(character) for character in self.alphabet]
        numbers = np.full(max(points) + 2, -1, np.int64)
        numbers[points] = np.arange(len(points))
        return numbers

    def without_unknown(self, text: str) -> str:
        """Return a text without the characters outside the alphabet."""
        return "".join(character for character in text if character in self.number)

    def decode(self, ids: Tensor) -> str:
        """Return the text of some numbers, (L,)."""
        return "".join(self.alphabet[i] for i in ids.tolist())

    def save(self, folder: Path) -> None:
        """Write the alphabet beside a model."""
        (folder / _FILE).write_text(json.dumps({"alphabet": self.alphabet}), encoding="utf-8")

    @property
    def start(self) -> str:
        """The character that a text starts with unless told otherwise: a line break, or the first one known."""
        return "\n" if "\n" in self.number else self.alphabet[0]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the alphabet beside a model.

        Raise `FileNotFoundError` where there is none, `ValueError` where it is no text of distinct characters.
        """
        path = folder / _FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} has no {_FILE} and no tokenizer.json: it holds no model of text")
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: it is no JSON ({error}); {_REMEDY}") from None
        alphabet = saved.get("alphabet") if isinstance(saved, dict) else None
        if not isinstance(alphabet, str) or not alphabet or len(set(alphabet)) < len(alphabet):
            raise ValueError(
                f'{path} is damaged: expected {{"alphabet": a text in which each character stands once}}; {_REMEDY}'
            )
        return cls(alphabet)

    def check_size(self, vocab_size: int, folder: Path) -> None:
        """Raise `ValueError` unless a model of so many tokens, loaded from the folder, knows these characters."""
        if len(self) != vocab_size:
            raise ValueError(
                f"{folder / _FILE} holds {len(self)} characters, but the model was trained on {vocab_size}: it is "
                f"another model's; {_REMEDY}"
            )
