"""Tasks in which a text, or a pair of texts, is given a class: what they share."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from formers.tasks.answers import answers
from formers.tasks.corpus.tokenizer_kinds import trained_tokenizer
from formers.tasks.corpus.tokenizer_vocabulary import TokenizerVocabulary
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.padding import padded
from formers.tasks.records import Record
from formers.tasks.sources import stamp
from formers.tasks.splits import Side
from formers.tasks.task import Example, Generated, Task, digest
from formers.tasks.vocabulary import Bytes, Vocabulary, Words

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_SHOWN = 160  # characters of a text that a sample shows
_TOKENS_AT_ONCE = 32_768  # evaluated at a time: few enough for attention maps to fit in memory
_MOST_PIECES = 1 << 20  # word pieces to learn
_UNKNOWN = 1  # stands for a text in which no token is known


class _TextClassification(Task):
    """Texts and their classes, as tokens padded to one length; only the first `length` tokens of a text are read.

    A model can be tested at other lengths: on the same texts, of which more or fewer tokens are read.
    """

    length: int = 512
    "Tokens of a text that are read; shorter ones are padded."
    path: str | None = None
    "The user's copy; None looks in the folder that FORMERS_DATA names; 'hub' downloads (needs pyarrow)."
    tokens: Literal["words", "bytes"] = "words"
    "`words` are word pieces, `bytes` UTF-8 bytes."
    vocab: int = 8192
    "Word pieces to learn from the training texts."
    vocabulary: str | None = None
    "A vocab.txt of word pieces, as BERT's, to use instead of learning one."
    tokenizer: str | None = None
    """Any Hugging Face tokenizer to use instead, with the special tokens that it sets: its folder, its tokenizer.json,
    or its name on the hub."""

    added: ClassVar[Mapping[str, Any]] = {"tokenizer": None}
    metric: ClassVar[TaskMetric] = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)
    head: ClassVar[str] = "SequenceClassifier"
    at_other_lengths: ClassVar[str] = (
        "The same test texts at every length, of which as many tokens are read; shorter texts are read whole."
    )

    def check(self) -> None:
        if self.length < 1 or not 1 <= self.vocab <= _MOST_PIECES:
            raise ValueError(f"{self}: length and vocab must be positive, and vocab at most {_MOST_PIECES:,}")
        if self.tokens == "bytes" and self.vocabulary is not None:
            raise ValueError(f"{self}: bytes need no vocabulary; leave it out, or take tokens='words'")
        if self.tokenizer is not None and (self.tokens != "words" or self.vocabulary is not None):
            raise ValueError(
                f"{self}: a tokenizer has tokens of its own; leave out tokens and vocabulary, or tokenizer"
            )

    def place(self) -> Path | None:
        """Return where the data is; None for the hub. Raise `FileNotFoundError` with how to get it."""
        raise NotImplementedError

    def read(self, place: Path | None) -> Mapping[Side, Sequence[Record]]:
        """Return the labelled texts of every split."""
        raise NotImplementedError

    @property
    def data(self) -> _Encoded:
        """Return the texts as numbers, read once until their files change."""
        place = self.place()
        named = [Path(name).expanduser() for name in (self.vocabulary, self.tokenizer) if name]
        files = [*named, *([place] if place else [])]
        return _encoded(self, tuple(map(stamp, files)))

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import Learned

        return TransformerConfig(
            vocab_size=len(self.data.vocabulary),
            num_labels=len(self.data.classes),
            width=64,
            depth=2,
            heads=4,
            position=Learned(),  # acts on the input, so every mixer takes it, and is as small as an embedding at first
            context_length=self.length,
            pad_token_id=0,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def build(self, seed: int, count: int) -> Dataset[Example]:
        """Return training texts drawn with replacement: example i is a function of the seed and i."""
        return Generated(partial(self.draw, self.data.train), f"{self.name()}/{seed}", count)

    def draw(self, texts: _Texts, stream: random.Random) -> Example:
        at = stream.randrange(len(texts.ids))
        return {**padded(texts.ids[at], self.length), "labels": texts.labels[at]}

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return the ranking metric over a split, and `accuracy`; slices by the number of tokens read."""
        texts: _Texts = getattr(self.data, split)
        found = self.answers(model, texts)
        right_b = (found == texts.labels).double()
        return Evaluation(
            metrics={
                self.metric.name: self.score(found, texts.labels),
                "accuracy": right_b.mean().item(),
                **self.more_metrics(found, texts.labels),
            },
            slices={"tokens": self.by_length(texts, found)},
            items=tuple(right_b.tolist()) if self.metric.name == "accuracy" else (),
        )

    def score(self, found: Tensor, labels: Tensor) -> float:
        """Return the ranking metric: the share of right answers."""
        return (found == labels).double().mean().item()

    def more_metrics(self, found: Tensor, labels: Tensor) -> dict[str, float]:
        """Return metrics beside the ranking one; none by default."""
        return {}

    def by_length(self, texts: _Texts, found: Tensor) -> dict[str, float]:
        """Return the ranking metric of shorter and longer texts."""
        sizes = torch.tensor([len(ids) for ids in texts.ids])
        bounds = [0, *sorted({max(1, self.length // share) for share in (4, 2, 1)})]
        chosen = {f"{low + 1}–{high}": (sizes > low) & (sizes <= high) for low, high in pairwise(bounds)}
        return {name: self.score(found[at], texts.labels[at]) for name, at in chosen.items() if at.any()}

    def answers(self, model: PreTrainedModel, texts: _Texts) -> Tensor:
        """Return the likeliest class of each text, (B,)."""
        examples = [padded(ids, self.length) for ids in texts.ids]
        batch = {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
        return answers(model, batch, rows=max(1, _TOKENS_AT_ONCE // self.length))

    def references(self) -> dict[str, float]:
        """Return `majority`: the commonest class of the training texts, whatever the text."""
        [(commonest, _)] = Counter(self.data.train.labels.tolist()).most_common(1)
        labels = self.data.test.labels
        return {"majority": self.score(torch.full_like(labels, commonest), labels)}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return three texts, and the classes that the model gives them."""
        data, first = self.data, self.data.test.first(3)
        found = self.answers(model, first).tolist()
        return tuple(
            f"{_shortened(' | '.join(record.texts))} → {data.classes[answer]} "
            f"({'right' if data.classes[answer] == record.label else f'should be {record.label}'})"
            for record, answer in zip(first.records, found, strict=True)
        )

    @property
    def data_hash(self) -> str:
        return self.data.sha256

    @property
    def reading_hash(self) -> str:
        """Return the sha256 of what a given tokenizer makes of the texts: another one may lie in its place by now."""
        return "" if self.tokenizer is None else self.data.numbers_sha256

    def save(self, folder: Path) -> None:
        self.data.vocabulary.save(folder)


@dataclass(frozen=True)
class _Texts:
    """The texts of one split: the tokens of each, without padding, its class, and the record it was made of."""

    ids: tuple[Tensor, ...]
    labels: Tensor
    records: tuple[Record, ...]

    def first(self, count: int) -> _Texts:
        return _Texts(self.ids[:count], self.labels[:count], self.records[:count])


@dataclass(frozen=True)
class _Encoded:
    """Labelled texts as numbers, by split."""

    classes: tuple[str, ...]
    vocabulary: Vocabulary
    train: _Texts
    validation: _Texts
    test: _Texts
    sha256: str

    @cached_property
    def numbers_sha256(self) -> str:
        """The sha256 of the texts as numbers."""
        return digest([ids.tolist() for texts in (self.train, self.validation, self.test) for ids in texts.ids])


@lru_cache(maxsize=4)
def _encoded(task: _TextClassification, stamps: tuple[object, ...]) -> _Encoded:
    """Return the data of a task; `stamps` tell changed files from those read before."""
    splits = task.read(task.place())
    if empty := [side for side in ("train", "validation", "test") if not splits.get(side)]:
        raise ValueError(f"{task}: too few texts, none is left for {' and '.join(empty)}; give more of them")
    vocabulary = _vocabulary_of(task, splits["train"])
    classes = tuple(sorted({record.label for records in splits.values() for record in records}))
    number = {label: i for i, label in enumerate(classes)}

    def texts(records: Sequence[Record]) -> _Texts:
        ids = tuple(torch.tensor((vocabulary.encode(r.texts) or [_UNKNOWN])[: task.length]) for r in records)
        return _Texts(ids, torch.tensor([number[r.label] for r in records]), tuple(records))

    content = [f"{side}\t{r.label}\t{r.content}" for side, records in splits.items() for r in records]
    pieces = vocabulary.pieces if isinstance(vocabulary, (Words, TokenizerVocabulary)) else ()
    made = {side: texts(records) for side, records in splits.items()}
    return _Encoded(classes, vocabulary, made["train"], made["validation"], made["test"], digest([*content, *pieces]))


def _vocabulary_of(task: _TextClassification, train: Sequence[Record]) -> Vocabulary:
    """Return bytes, a given tokenizer, the given word pieces, or pieces learned from the training texts."""
    if task.tokenizer is not None:
        return TokenizerVocabulary(trained_tokenizer(task.tokenizer), task.length)
    if task.tokens == "bytes":
        return Bytes()
    if task.vocabulary is not None:
        return Words.load(Path(task.vocabulary).expanduser())
    return Words.learn((text for record in train for text in record.texts), task.vocab)


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 1]}…"
