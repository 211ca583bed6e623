"""The task axis: data, how an example is made, and how a trained model is judged."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor
from torch.utils.data import Dataset

from formers.part import Part, Unsupported, own_code
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.picture import Picture

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

BEGINS = "begins"
"""The name in an example that a contiguous task has beside the model's inputs: whether its row begins anew with it."""
Example = dict[str, Tensor]
"One training example: the model's inputs by name, without the batch dimension."


class Task(Part):
    """A problem to train on.

    Every member is deterministic: example i is a function of the seed and i, and nothing else.
    """

    length: int = 128
    "Tokens in one example."

    longest: ClassVar[int] = 1 << 20
    "Tokens in one example, at most: what is longer is a slip of the hand, and would be drawn for hours."
    description: ClassVar[str]
    "What the task is, in a sentence or two."
    metric: ClassVar[TaskMetric]
    "The number that ranks models on this task."
    head: ClassVar[str]
    "The class in `formers.models` that is trained."
    arms: ClassVar[tuple[str, ...]]
    "The arms of the default study, as `name: axis=part, …`."
    arm_options: ClassVar[tuple[str, ...]] = ()
    """Options of the task in which arms of one study may differ, as `task.top=0.1`: what is trained on and how it is
    read, and nothing that changes how models are judged or what `data_hash` is of."""
    budget: ClassVar[dict[str, float]]
    "What each arm of the default study is given: values for `formers.lab.Budget`."
    at_other_lengths: ClassVar[str] = ""
    """How the test split is read at another length than the trained one, as a sentence; empty where it cannot be.

    A task with such a sentence has a test split that `evaluate` reads in examples of `length` tokens, whatever length
    the model was trained at."""
    names_its_file = True

    def __post_init__(self) -> None:
        if isinstance(self.length, int) and self.length > self.longest:
            raise ValueError(f"{self.name()}: examples have at most {self.longest:,} tokens, not {self.length:,}")
        super().__post_init__()

    def __repr__(self) -> str:
        return f"{self.origin}:{super().__repr__()}" if self.origin else super().__repr__()

    def base(self) -> TransformerConfig:
        """Return the configuration from which the arms of the default study differ."""
        raise NotImplementedError

    def build(self, seed: int, count: int) -> Dataset[Example]:
        """Return the first `count` training examples for a seed; `dataset[i]` depends on the seed and i only."""
        raise NotImplementedError

    @property
    def is_contiguous(self) -> bool:
        """True if each row of a batch goes on where the same row of the batch before stopped: see `segments`."""
        return False

    def segments(self, seed: int, count: int, rows: int) -> Dataset[Example]:
        """Return the first `count` training examples in batches of `rows`, if the task is contiguous.

        Example i goes on where example i − rows stopped, unless its `BEGINS` is true: then nothing before belongs to
        it. It depends on the seed, `rows` and i only.
        """
        raise NotImplementedError

    def check_config(self, config: TransformerConfig) -> None:
        """Raise `Unsupported` for a configuration that the task could make nothing of.

        By default that is a memory carried on from segment to segment, where examples do not follow each other.
        """
        if config.memory.carried and not self.is_contiguous:
            raise Unsupported(
                f"memory {config.memory} goes on from one segment of a text to the next, but the examples of {self} do "
                "not follow each other, so that nothing would be remembered; use shakespeare(contiguous=True), or "
                "memory none()"
            )

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return what the model reaches on held-out data. Leave the model and every random state as they were."""
        raise NotImplementedError

    def at_length(self, length: int) -> Self:
        """Return this task at another length: `evaluate(model, "test")` of it tests a model of this one there.

        Raises:
            ValueError: where the task cannot be tested at this length.
        """
        if not self.at_other_lengths:
            raise ValueError(f"{self.name()} is tested at its own length only, {self.length}, not at {length}")
        return self.swap(length=length)

    def references(self) -> dict[str, float]:
        """Return named values of the ranking metric to compare with, on the test split."""
        return {}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return outputs of the trained model, as text to read."""
        return ()

    def pictures(self, model: PreTrainedModel) -> tuple[Picture, ...]:
        """Return outputs of the trained model, as pictures to look at: PNG, or GIF where something moves."""
        return ()

    @property
    def data_hash(self) -> str:
        """Return the sha256 of the data, or of what generates it and of the first examples."""
        raise NotImplementedError

    @property
    def reading_hash(self) -> str:
        """Return the sha256 of how the data is read, by files of the user's that `data_hash` is not of, such as a
        tokenizer's; empty where there are none."""
        return ""

    @property
    def code_hash(self) -> str:
        """Return the sha256 of the user's file that a task comes from, as `own_code` has it; empty for the library's
        own tasks."""
        return own_code(self).get(self.origin, "")

    def save(self, folder: Path) -> None:
        """Write beside a trained model what is needed to use it, such as its alphabet. Nothing by default."""

    def model(self, config: TransformerConfig) -> PreTrainedModel:
        """Return a new model for this task. Raise `Unsupported` for a configuration that cannot exist."""
        from formers import models  # imports Hugging Face, which takes seconds; naming a task does not need it

        build: Callable[[Any], PreTrainedModel] = getattr(models, self.head)
        return build(config)


class Generated(Dataset[Example]):
    """A dataset of `count` examples, each made from its own random stream when it is asked for."""

    def __init__(self, make: Callable[[random.Random], Example], stream: str, count: int) -> None:
        self.make, self.stream, self.count = make, stream, count
        self.random = random.Random()  # one that is seeded anew takes half the time of a new one

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < self.count:
            raise IndexError(f"example {index} of {self.count}")
        self.random.seed(f"{self.stream}/{index}")
        return self.make(self.random)


def digest(parts: Sequence[object]) -> str:
    """Return the sha256 over the texts of some values."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
