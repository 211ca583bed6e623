"""A corpus as numbers: read, split and tokenized once until its files change."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from formers.tasks.corpus.document_splits import Splits, split_documents
from formers.tasks.corpus.documents import HUB, Document, read_documents
from formers.tasks.corpus.pieces import PLAIN, Pieces
from formers.tasks.corpus.tokenizer_kinds import tokenizer_for
from formers.tasks.sources import stamp
from formers.tasks.splits import Side
from formers.tasks.task import digest
from formers.tasks.text import read_text

_TRIED = 2_000
"""Characters of a split on which it is tried if a tokenizer gives them back."""


@dataclass(frozen=True)
class CorpusSource:
    """Where a corpus comes from, and how it is read.

    Attributes:
        path, column, megabytes: as `read_documents` takes them; without a path, Tiny Shakespeare.
        tokens, size: as `tokenizer_for` takes them.
        masked: whether the tokenizer needs a token for masks.
        words: whether `word_starts` are needed.
        special: whether special tokens that stand in the texts are read as such, as `Pieces` takes it.
    """

    path: str | None
    column: str
    megabytes: float | None
    tokens: str
    size: int
    masked: bool = False
    words: bool = False
    special: bool = False

    def load(self) -> Corpus:
        """Return the corpus, read anew when its files, or those of its tokenizer, have changed."""
        return _loaded(self, (*_stamps(self.path), *_stamps(self.tokens)))

    def texts(self) -> Splits:
        """Return the texts of each split, read anew when their files have changed."""
        return split_texts(self.path, self.column, self.megabytes)


@dataclass(frozen=True)
class Corpus:
    """Texts as numbers, by split: documents one after another, each ended by the tokenizer's end where it has one.

    Attributes:
        pieces: the tokenizer.
        train, validation, test: numbers, (N,) int32.
        bytes: UTF-8 bytes of the texts of each split.
        word_starts: for each split, which of its pieces begin a word, (N,) bool, if they were asked for.
        lossless: whether the tokenizer gives texts back as they are, tried on the beginning of each split.
        sha256: of the texts, however they are tokenized.
    """

    pieces: Pieces
    train: Tensor
    validation: Tensor
    test: Tensor
    bytes: dict[Side, int]
    word_starts: dict[Side, Tensor]
    lossless: bool
    sha256: str

    @cached_property
    def numbers_sha256(self) -> str:
        """The sha256 of the texts as numbers."""
        whole = hashlib.sha256()
        for ids in (self.train, self.validation, self.test):
            whole.update(f"{len(ids)}\n".encode() + ids.numpy().tobytes())
        return whole.hexdigest()

    def pieces_a_byte(self, side: Side) -> float:
        """Return how many pieces of a split there are for each of its bytes."""
        ids: Tensor = getattr(self, side)
        return len(ids) / self.bytes[side]


def _stamps(path: str | None) -> tuple[object, ...]:
    """Return what tells the changed files of a corpus or a tokenizer from those read before."""
    return () if path is None or path.startswith(HUB) else stamp(Path(path).expanduser())


def split_texts(path: str | None, column: str = "text", megabytes: float | None = None) -> Splits:
    """Return the texts of each split of a corpus, read anew when its files have changed.

    Args:
        path, column, megabytes: as `read_documents` takes them; without a path, Tiny Shakespeare.

    Raise ValueError where one of the splits is empty.
    """
    return _texts(path, column, megabytes, _stamps(path))


@lru_cache(maxsize=4)
def _texts(path: str | None, column: str, megabytes: float | None, stamps: tuple[object, ...]) -> Splits:
    documents = [Document(read_text(None))] if path is None else read_documents(path, column, megabytes)
    splits = split_documents(documents)
    if empty := [side for side, texts in splits.items() if not texts]:
        raise ValueError(f"{path}: too little text, none is left for {' and '.join(empty)}; give more of it")
    return splits


@lru_cache(maxsize=4)
def _loaded(source: CorpusSource, stamps: tuple[object, ...]) -> Corpus:
    """Return a corpus; `stamps` tell changed files from those read before."""
    splits = source.texts()
    everything = [text for texts in splits.values() for text in texts]
    kind = Pieces if source.special else PLAIN.get(source.tokens, Pieces)
    pieces = kind(tokenizer_for(source.tokens, source.size, splits["train"], everything), source.special)
    pieces = pieces.with_mask() if source.masked else pieces
    several = any(len(texts) > 1 for texts in splits.values())
    ids = {side: joined(pieces, texts, several) for side, texts in splits.items()}
    starts = {side: _joined_starts(pieces, texts, several) for side, texts in splits.items()} if source.words else {}
    return Corpus(
        pieces=pieces,
        train=ids["train"],
        validation=ids["validation"],
        test=ids["test"],
        bytes={side: sum(len(text.encode()) for text in texts) for side, texts in splits.items()},
        word_starts=starts,
        lossless=all(_comes_back(pieces, texts[0][:_TRIED]) for texts in splits.values()),
        sha256=digest([f"{side}\t{text}" for side, texts in splits.items() for text in texts]),
    )


def joined(pieces: Pieces, texts: Sequence[str], several: bool) -> Tensor:
    """Return the numbers of some documents, (N,) int32, each ended where there are `several` and it has an end."""
    ending = torch.tensor([pieces.end] if several and pieces.end is not None else [], dtype=torch.int32)
    return torch.cat([part for text in texts for part in (pieces.encode(text).to(torch.int32), ending)])


def _joined_starts(pieces: Pieces, texts: Sequence[str], several: bool) -> Tensor:
    ending = torch.ones(int(several and pieces.end is not None), dtype=torch.bool)
    return torch.cat([part for text in texts for part in (pieces.word_starts(text), ending)])


def _comes_back(pieces: Pieces, text: str) -> bool:
    return pieces.decode(pieces.encode(text)) == text
