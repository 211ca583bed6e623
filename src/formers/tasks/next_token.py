"""What tasks of predicting the next token of a text share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from torch import Tensor
from torch.utils.data import Dataset

from formers.tasks.continuation import generate
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.segments import Segments, mean_nats_in_segments
from formers.tasks.task import Example, Task
from formers.tasks.windows import RandomWindows, mean_nats

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TextCoder(Protocol):
    """Texts to numbers and back."""

    def encode(self, text: str) -> Tensor: ...

    def decode(self, ids: Tensor) -> str: ...


class SplitText(Protocol):
    """A text as numbers, (N,) for each split."""

    @property
    def train(self) -> Tensor: ...

    @property
    def validation(self) -> Tensor: ...

    @property
    def test(self) -> Tensor: ...


class _NextToken(Task):
    """A text in three splits, of which models predict each token from those before it.

    A task of this kind has the option `contiguous`, and defines `text`, `coder`, `origin_of_text` and `metrics_of`.
    """

    if TYPE_CHECKING:
        contiguous: bool

    head: ClassVar[str] = "CausalLM"
    unit: ClassVar[str] = "tokens"
    "The word for what is predicted."

    @property
    def text(self) -> SplitText:
        """Return the text's three splits. Raise if they cannot be read, or are too short for windows of `length`."""
        raise NotImplementedError

    @property
    def coder(self) -> TextCoder:
        """Return what makes numbers of texts."""
        raise NotImplementedError

    @property
    def origin_of_text(self) -> str:
        """Return the words for where the text comes from."""
        raise NotImplementedError

    def metrics_of(self, nats: float, split: Split) -> dict[str, float]:
        """Return the metrics of a model that spends so many nats on each token of a split, on average."""
        raise NotImplementedError

    def prompt(self) -> Tensor:
        """Return the numbers of a text to go on with, (L,): the first of the training text."""
        return self.text.train[: min(8, self.length - 1)].long()

    def at_length(self, length: int) -> Self:
        """Return the task with windows of another length. Raise ValueError where the text is too short for one."""
        other = super().at_length(length)
        if (count := len(other.text.test)) < length:
            raise ValueError(
                f"{self.origin_of_text} has a test split of {count:,} {self.unit}, which fills no window of "
                f"{length:,}; test at shorter lengths, or give a longer text"
            )
        return other

    @property
    def is_contiguous(self) -> bool:
        return self.contiguous

    def build(self, seed: int, count: int) -> Dataset[Example]:
        if self.contiguous:
            return self.segments(seed, count, rows=1)
        return RandomWindows(self.text.train, self.length, f"{self.name()}/{seed}", count)

    def segments(self, seed: int, count: int, rows: int) -> Dataset[Example]:
        stream = f"{self.name()}/{seed}"
        return Segments(self.text.train.long(), self.length, rows=rows, stream=stream, count=count)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return the metrics over a whole split, in which every token but the first is predicted once."""
        ids: Tensor = getattr(self.text, split).long()
        nats = (mean_nats_in_segments if self.contiguous else mean_nats)(model, ids, self.length)
        return Evaluation(metrics=self.metrics_of(nats, split))

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return one continuation of the prompt."""
        ids = self.prompt()
        return (self.coder.decode(generate(model, ids, tokens=self.length - len(ids))),)
