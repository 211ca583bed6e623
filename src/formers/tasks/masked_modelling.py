"""Masked language modelling on any corpus: find the tokens that are hidden."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.part import evaluating
from formers.tasks.corpus.corpus_task import _CorpusTask
from formers.tasks.corpus.masking import IGNORED, Masking
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.task import Example, Generated

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.tasks.corpus.corpus import CorpusSource

_ROWS = 64  # windows evaluated at a time
_TOKENS = 1 << 13  # in these windows, at most: there is a score for each piece of the vocabulary at every token


class Mlm(_CorpusTask):
    """Find hidden tokens of a corpus from both sides: BERT's masked language modelling, on the corpora of `text`.

    Of each window 15 % of the tokens are chosen, and to be found: 80 % of them are replaced by a mask, 10 % by any
    token, 10 % stay. In training the choice is new each time; in validation and test it is the same for every model.
    Models are ranked by the bits that they spend on a hidden token, for each byte of it on average.

    Source: Devlin et al. 2018, arXiv:1810.04805.
    """

    length: int = 128
    "Tokens in a window."
    rate: float = 0.15
    "The share of the tokens that is to be found."
    hide: Literal["tokens", "words"] = "tokens"
    """Whether tokens are chosen one by one, or words with all of their tokens: a part of a word gives the rest away."""

    description: ClassVar[str] = (
        "Find the hidden tokens of a corpus from both sides. Measured on a part of it that no arm trains on."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(name="bits_per_byte", label="loss of hidden tokens", unit="bits/byte")
    head: ClassVar[str] = "MaskedLM"
    at_other_lengths: ClassVar[str] = (
        "The same test text at every length, in windows of that length, of which other tokens are hidden."
    )
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "fourier: mixer=fourier",
        "linear: mixer=linear",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 1000, "batch_size": 16, "learning_rate": 3e-3}
    masked: ClassVar[bool] = True

    def check(self) -> None:
        super().check()
        if not 0 < self.rate < 1:
            raise ValueError(f"mlm: rate must be between 0 and 1, as 0.15, not {self.rate}")

    @property
    def source(self) -> CorpusSource:
        return replace(super().source, words=self.hide == "words")

    @property
    def masking(self) -> Masking:
        """Return how tokens are hidden."""
        pieces = self.text.pieces
        return Masking(self.rate, pieces.mask, tuple(pieces.ordinary))

    def build(self, seed: int, count: int) -> Dataset[Example]:
        corpus = self.text
        draw = partial(_drawn, corpus.train, corpus.word_starts.get("train"), self.length, self.masking)
        return Generated(draw, f"mlm/{seed}", count)

    def held_out(self, split: Split) -> list[Example]:
        """Return the windows of a split, one after another, with the tokens hidden that are hidden for every model."""
        corpus, masking = self.text, self.masking
        ids: Tensor = getattr(corpus, split)
        starts = range(0, len(ids) - self.length + 1, self.length)
        if not starts:
            raise ValueError(
                f"{self}: the {split} split has {len(ids):,} tokens, which fill no window of {self.length:,}; give "
                "more text, or a smaller length"
            )
        words = corpus.word_starts.get(split)
        streams = (random.Random(f"mlm/{split}/{at}") for at in starts)
        return [
            _window(ids, words, at, self.length, masking, stream) for at, stream in zip(starts, streams, strict=True)
        ]

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `bits_per_byte`, `loss` (nats for each hidden token), and `accuracy`, the share that is found."""
        examples = self.held_out(split)
        rows = max(1, min(_ROWS, _TOKENS // self.length))
        nats, right, hidden = 0.0, 0, 0
        with evaluating(model):
            for first in range(0, len(examples), rows):
                batch = examples[first : first + rows]
                ids, labels = (torch.stack([one[name] for one in batch]) for name in ("input_ids", "labels"))
                log_p, best = _found(model, ids, labels)
                nats, right, hidden = nats - log_p.sum().item(), right + int(best.sum()), hidden + len(best)
        loss = nats / hidden
        bits = loss / math.log(2) * self.text.pieces_a_byte(split)
        return Evaluation(metrics={"bits_per_byte": bits, "loss": loss, "accuracy": right / hidden})

    def references(self) -> dict[str, float]:
        """Return `unigram`: how often each token comes, whatever is around it."""
        corpus, size = self.text, len(self.text.pieces)
        log_p = (torch.bincount(corpus.train, minlength=size).double() + 1).log()
        nats = (log_p.logsumexp(0) - log_p[corpus.test.long()]).mean().item()
        return {"unigram": nats / math.log(2) * corpus.pieces_a_byte("test")}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return a window of the test text with what the model finds in hidden places: [found], or [found≠right]."""
        [example, *_] = self.held_out("test")
        with evaluating(model):
            best = model(input_ids=example["input_ids"][None].to(model.device)).logits[0].argmax(-1).cpu()
        shown = example["input_ids"].tolist()
        decode = self.text.pieces.decode
        parts, plain = list[str](), list[int]()
        for token, found, label in zip(shown, best.tolist(), example["labels"].tolist(), strict=True):
            if label == IGNORED:
                plain.append(token)
                continue
            got, want = (decode(torch.tensor([one])) for one in (found, label))
            parts += [decode(torch.tensor(plain, dtype=torch.long)), f"[{got if got == want else f'{got}≠{want}'}]"]
            plain = []
        return ("".join([*parts, decode(torch.tensor(plain, dtype=torch.long))]),)


def _drawn(ids: Tensor, word_starts: Tensor | None, length: int, masking: Masking, stream: random.Random) -> Example:
    """Return a random window of a text (N,) with some tokens hidden."""
    return _window(ids, word_starts, stream.randrange(len(ids) - length + 1), length, masking, stream)


def _window(
    ids: Tensor, word_starts: Tensor | None, start: int, length: int, masking: Masking, stream: random.Random
) -> Example:
    part = slice(start, start + length)
    return masking.hide(ids[part].long(), None if word_starts is None else word_starts[part], stream)


def _found(model: PreTrainedModel, ids_bl: Tensor, labels_bl: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p of each hidden token, and whether it is the likeliest, (N,) each."""
    logits = model(input_ids=ids_bl.to(model.device)).logits.float().cpu()
    hidden = labels_bl != IGNORED
    scores_nv, labels_n = logits[hidden], labels_bl[hidden]
    log_p = scores_nv.log_softmax(-1).gather(-1, labels_n[:, None]).squeeze(-1)
    return log_p, scores_nv.argmax(-1) == labels_n
