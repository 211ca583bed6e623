"""What tasks on corpora share: their texts, and how they are tokenized."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from formers.tasks.corpus.corpus import Corpus, CorpusSource
from formers.tasks.corpus.tokenizer_kinds import KINDS, LEARNED
from formers.tasks.task import Task

if TYPE_CHECKING:
    from formers.models import TransformerConfig

_PIECES = 4096  # of a kind that is learned, unless told otherwise
_MOST_PIECES = 1 << 20
_FEW = 512  # tokens: so many need no table shared with the head, and no wide model


class _CorpusTask(Task):
    """A task on any corpus. Other tokens change how a model reads, and not what it is judged on: the same bytes."""

    path: str | None = None
    """A text file, a table (csv, tsv, json, jsonl), a folder of them, a zip file of .txt files, or `hub:owner/name` for
    a data set of the hub (needs datasets); None is Tiny Shakespeare, which comes with the library."""
    tokens: str = "bytes"
    """`bytes`, `characters`, `bpe` or `word_pieces` learned from the training texts, or any Hugging Face tokenizer: its
    folder, its tokenizer.json, or its name on the hub."""
    vocab: int | None = None
    "Pieces to learn with `bpe` and `word_pieces`; 4096 unless given."
    column: str = "text"
    "The column of tables and data sets of the hub that holds the text."
    special_tokens: bool = False
    "Whether `<|endoftext|>` and the like, where they stand in a text, are the tokenizer's special tokens, and no text."
    megabytes: float | None = None
    "Read so much text at most; None: all of a file or folder, the first 64 MB of a data set of the hub."

    arm_options: ClassVar[tuple[str, ...]] = ("tokens", "vocab")
    masked: ClassVar[bool] = False
    "Whether the task hides tokens, so that the tokenizer needs one to hide them with."

    def check(self) -> None:
        if self.length < 2:
            raise ValueError(f"{self.name()}: length must be at least 2 tokens, not {self.length}")
        if self.vocab is not None and self.tokens not in LEARNED:
            raise ValueError(
                f"{self.name()}: vocab={self.vocab} is of pieces that are learned; leave it out with "
                f"tokens={self.tokens!r}, or take tokens={' or '.join(LEARNED)}"
            )
        if self.vocab is not None and not 300 <= self.vocab <= _MOST_PIECES:
            raise ValueError(
                f"{self.name()}: vocab must be from 300 (256 bytes and some pieces) to {_MOST_PIECES:,}, not "
                f"{self.vocab:,}"
            )
        if self.megabytes is not None and not self.megabytes > 0:
            raise ValueError(f"{self.name()}: megabytes must be more than 0, not {self.megabytes}")

    @property
    def source(self) -> CorpusSource:
        """Return where the texts come from and how they are read."""
        size = self.vocab or _PIECES
        where = (self.path, self.column, self.megabytes)
        return CorpusSource(*where, self.tokens, size, masked=self.masked, special=self.special_tokens)

    @property
    def text(self) -> Corpus:
        """Return the texts as numbers. Raise if they cannot be read, or are too short for windows of `length`."""
        corpus = self.source.load()
        if min(len(corpus.validation), len(corpus.test)) < 2 or len(corpus.train) < self.length:
            raise ValueError(
                f"{self.path}: {len(corpus.train)} tokens to train on, {len(corpus.validation)} to validate and "
                f"{len(corpus.test)} to test are too few for windows of {self.length}; give more text"
            )
        return corpus

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import Sinusoidal

        size = len(self.text.pieces)
        return TransformerConfig(
            vocab_size=size,
            width=64 if size <= _FEW else 128,
            depth=3,
            heads=4,
            position=Sinusoidal(scale=1.0),  # acts on the input, so every mixer takes it, and knows no last position
            context_length=self.length,
            tie_word_embeddings=size > _FEW,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    @property
    def data_hash(self) -> str:
        return self.text.sha256

    @property
    def reading_hash(self) -> str:
        """Return the sha256 of what a given tokenizer makes of the texts: another one may lie in its place by now."""
        return "" if self.tokens in KINDS else self.text.numbers_sha256

    def save(self, folder: Path) -> None:
        """Write the tokenizer beside a model; of characters also their alphabet, as `shakespeare` does."""
        self.text.pieces.save(folder)
