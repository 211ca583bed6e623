"""Vocabularies: texts to numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from formers.tasks.corpus.saved_vocabularies import shifted_byte_tokenizer, word_tokenizer
from formers.tasks.decoding import text_of

_FILE = "vocab.txt"
_SPECIAL = ("[PAD]", "[UNK]", "[SEP]")
_INSIDE = "##"  # what marks a piece that does not begin a word
_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")
_ENDINGS = range(1, 6)  # lengths of the word endings that may become pieces


class Vocabulary(Protocol):
    """Encodes a text, or a pair with a separator between. Number 0 is padding."""

    def __len__(self) -> int: ...

    def encode(self, texts: tuple[str, ...]) -> list[int]: ...

    def save(self, folder: Path) -> None: ...


class Bytes:
    """UTF-8 bytes, numbered from 1; 257 separates two texts."""

    def __len__(self) -> int:
        return 258

    def encode(self, texts: tuple[str, ...]) -> list[int]:
        ids: list[int] = []
        for text in texts:
            ids += [*([257] if ids else []), *(byte + 1 for byte in text.encode())]
        return ids

    def save(self, folder: Path) -> None:
        """Write a tokenizer that gives the same numbers beside a model."""
        shifted_byte_tokenizer().save_pretrained(folder)


@dataclass(frozen=True)
class Words:
    """Word pieces, as BERT has them: lower-case words and punctuation, each cut into the longest pieces known.

    A piece that does not begin a word is written with `##` before it. Source: Devlin et al. 2018, arXiv:1810.04805.
    """

    pieces: tuple[str, ...]

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Self:
        """Return the commonest words and word endings of some texts, and every character: at most about `size` pieces.

        A simple rule, the same in every run: three pieces in four are whole words, the rest endings of one to five
        characters, by how often they occur, then by the alphabet. Characters are kept whatever the size.
        """
        counts = Counter(word for text in texts for word in _split_words(text))
        characters = sorted({character for word in counts for character in word})
        endings: Counter[str] = Counter()
        for word, count in counts.items():
            endings.update({word[-n:]: count for n in _ENDINGS if n < len(word)})
        fixed = [*_SPECIAL, *characters, *(_INSIDE + character for character in characters)]
        room = max(0, size - len(fixed))
        words = _commonest({word: n for word, n in counts.items() if len(word) > 1}, room - room // 4)
        ends = _commonest({_INSIDE + end: n for end, n in endings.items() if len(end) > 1}, room // 4)
        return cls((*fixed, *words, *ends))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the pieces of a `vocab.txt`, one a line.

        Raise if it is missing, or has no [PAD] first, [UNK] and [SEP].
        """
        if not path.is_file():
            raise FileNotFoundError(f"no vocabulary at {path}; give a vocab.txt with one word piece a line, as BERT's")
        # Lines end in \n or \r\n alone: a piece may be a character such as U+2028, at which splitlines() cuts, too.
        lines = text_of(path.read_bytes(), path).removesuffix("\n").split("\n")
        pieces = tuple(line.removesuffix("\r") for line in lines)
        missing = ", ".join(sorted(set(_SPECIAL) - set(pieces)))
        if pieces[0] != _SPECIAL[0] or missing:
            raise ValueError(f"{path} must begin with [PAD]{f' and hold {missing}' if missing else ''}")
        return cls(pieces)

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def number(self) -> dict[str, int]:
        return {piece: i for i, piece in enumerate(self.pieces)}

    @cached_property
    def tokenizer(self) -> Any:
        from tokenizers import Tokenizer
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        tokenizer = Tokenizer(WordPiece(self.number, unk_token="[UNK]", continuing_subword_prefix=_INSIDE))
        tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
        return tokenizer

    def encode(self, texts: tuple[str, ...]) -> list[int]:
        ids: list[int] = []
        for text in texts:
            ids += [*([self.number["[SEP]"]] if ids else []), *self.tokenizer.encode(text).ids]
        return ids

    def save(self, folder: Path) -> None:
        """Write the pieces beside a model, and a tokenizer that gives the same numbers."""
        (folder / _FILE).write_text("\n".join(self.pieces) + "\n", encoding="utf-8")
        word_tokenizer(self.tokenizer).save_pretrained(folder)


def _commonest(counts: dict[str, int], size: int) -> list[str]:
    """Return the most frequent, ties by the alphabet."""
    return sorted(counts, key=lambda piece: (-counts[piece], piece))[:size]


def _split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, lower-case and without accents, as BERT splits them."""
    from tokenizers.normalizers import BertNormalizer

    return _WORD.findall(BertNormalizer().normalize_str(text))
