"""Language modelling on any corpus, with any tokens."""

from __future__ import annotations

import math
from typing import ClassVar

from formers.part import warn_caller
from formers.tasks.bigram import bigram_bits
from formers.tasks.corpus.corpus import Corpus
from formers.tasks.corpus.corpus_task import _CorpusTask
from formers.tasks.corpus.pieces import Pieces, byte_values
from formers.tasks.evaluation import Split
from formers.tasks.metric import TaskMetric
from formers.tasks.next_token import _NextToken


class Text(_CorpusTask, _NextToken):
    """Predict the next token of any corpus: files, folders or a data set of the hub, as bytes, characters or pieces.

    Models are ranked by bits per byte, the bits that they spend on a split's tokens for each byte of its text, so that
    tokenizers compare: `--vary task.tokens=bytes,characters,bpe`. A tokenizer that does not give the text back as it
    was (by lower-casing it, say) spends less on less, with a warning: compare such a one with itself only.

    About 90 % of the text is trained on, in random windows, 5 % validates, 5 % tests. Published splits stay what they
    are: files or folders with names such as `train`, `valid` and `test`, and splits of data sets. Otherwise 100
    documents or more are divided by a checksum of each; fewer are each cut into the three. Documents follow one
    another, each ended by a token of its own; pieces, and the characters of an alphabet, are learned from the texts
    themselves. Validation and test are read as in `shakespeare`, which is this task on characters of one text.
    """

    length: int = 128
    "Tokens in a window."
    contiguous: bool = False
    "Whether rows go on from batch to batch, with their memory, in the place of random windows."

    description: ClassVar[str] = (
        "Predict the next token of a corpus. Measured in bits per byte on a part of it that no arm trains on."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(name="bits_per_byte", label="loss", unit="bits/byte")
    at_other_lengths: ClassVar[str] = (
        "The same test text at every length, in windows of that length: each token is predicted once, and has more "
        "context on average in longer windows. Contiguous segments hand on the memory, which gives context of its own."
    )
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "linear: mixer=linear",
        "metric: mixer=metric",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 1000, "batch_size": 16, "learning_rate": 1e-2}

    @property
    def text(self) -> Corpus:
        """Return the texts as numbers. Raise if they cannot be read, or are too short for windows of `length`.

        A UserWarning says where the tokenizer does not give them back as they were.
        """
        corpus = super().text
        if not corpus.lossless:
            warn_caller(
                f"{self}: the tokenizer does not give the text back as it was, so that its bits per byte count less "
                "than the text says: compare them with those of the same tokenizer only"
            )
        return corpus

    @property
    def coder(self) -> Pieces:
        return self.text.pieces

    @property
    def origin_of_text(self) -> str:
        return self.path or "Tiny Shakespeare"

    def metrics_of(self, nats: float, split: Split) -> dict[str, float]:
        """Return `bits_per_byte`, and for each token `loss` (nats) and `perplexity`."""
        bits = nats / math.log(2) * self.text.pieces_a_byte(split)
        return {"bits_per_byte": bits, "loss": nats, "perplexity": math.exp(min(nats, 700))}

    def references(self) -> dict[str, float]:
        """Return `bigram`: what a byte tells of the next one."""
        texts = self.source.texts()
        train, test = (byte_values("".join(texts[side])) for side in ("train", "test"))
        return {"bigram": bigram_bits(train, test, 256)}
