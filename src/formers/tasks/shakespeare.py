"""Language modelling of characters: Tiny Shakespeare, or any text of one's own."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from formers.part import evaluating
from formers.tasks.bigram import bigram_bits
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.metric import TaskMetric
from formers.tasks.segments import Segments, mean_nats_in_segments
from formers.tasks.task import Example, Generated, Task
from formers.tasks.text import Text, load_text

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_PROMPT = "ROMEO:\n"
_ROWS = 64  # windows evaluated at a time: enough to fill the cores, few enough to stay in cache
_TOKENS = 1 << 16  # in these windows, at most: attention maps of long ones have to fit in memory


class Shakespeare(Task):
    """Predict the next character of Shakespeare's plays (1.1 million characters), or of a text file of your own.

    The first 90 % of the text is trained on, in random windows; the next 5 % is the validation split, the last 5 % the
    test split, each read whole in windows of `length`, in which each character is predicted once.

    A model can be tested at other lengths than its own: on the same test characters, each predicted once but the first,
    in windows of that length. Windows begin where the last one ended (its last character is the first of the next, and
    is not predicted again), so that a character has from 1 to length − 1 characters before it, half of that on average:
    longer windows give more context, to any model that can use it.

    With `contiguous` the text is read in segments that follow each other, in training and in evaluation: row b of a
    batch goes on where row b of the batch before stopped, and a memory is handed on from one to the next. In training
    each row has a strip of the text; at its end all rows begin anew with an empty memory, at another place. Validation
    and test text are read in up to eight strips. Every character but the first is predicted, the first of a segment
    from the last of the one before. A model without a memory reads the same segments, each by itself.
    """

    added: ClassVar[dict[str, bool]] = {"contiguous": False}

    length: int = 64
    "Characters in a window."
    path: str | None = None
    "A UTF-8 text file to learn from; None is Tiny Shakespeare, which comes with the library."
    contiguous: bool = False
    "Whether rows go on from batch to batch, with their memory, in the place of random windows."

    description: ClassVar[str] = (
        "Predict the next character of Tiny Shakespeare. Measured on the last 5 % of it, which no arm trains on."
    )
    metric: ClassVar[TaskMetric] = TaskMetric(name="bits_per_character", label="loss", unit="bits/character")
    head: ClassVar[str] = "CausalLM"
    at_other_lengths: ClassVar[str] = (
        "The same test text at every length, in windows of that length: each character is predicted once, and has more "
        "context on average in longer windows. Contiguous segments hand on the memory, which gives context of its own."
    )
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "linear: mixer=linear",
        "dense: mixer=dense, residual=danet, norm=max_norm, ffn=mlp(activation=relu, bias=False, init=1.0), "
        "embedding_norm=max_norm",
        "metric: mixer=metric",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 1000, "batch_size": 16, "learning_rate": 1e-2}

    def check(self) -> None:
        if self.length < 2:
            raise ValueError(
                f"shakespeare: length must be at least 2 (one character predicts the next), not {self.length}"
            )

    def base(self) -> TransformerConfig:
        from formers.models import TransformerConfig
        from formers.positions import Sinusoidal

        return TransformerConfig(
            vocab_size=len(self.text.characters),
            width=64,
            depth=3,
            heads=4,
            position=Sinusoidal(scale=1.0),  # acts on the input, so every mixer takes it, and knows no last position
            context_length=self.length,
            tie_word_embeddings=False,  # 65 characters need no shared table
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    @property
    def text(self) -> Text:
        """Return the text's three splits. Raise if the file is missing, empty, binary or too short."""
        text = load_text(self.path)
        if len(text.validation) < 2 or len(text.train) <= self.length:
            raise ValueError(
                f"{self.path}: {len(text.train)} characters of training text are too few for windows of {self.length}"
            )
        return text

    def at_length(self, length: int) -> Self:
        """Return the task with windows of another length. Raise ValueError where the text is too short for one."""
        other = super().at_length(length)
        if (count := len(other.text.test)) < length:
            raise ValueError(
                f"{self.path or 'Tiny Shakespeare'} has a test split of {count:,} characters, which fills no window of "
                f"{length:,}; test at shorter lengths, or give a longer text"
            )
        return other

    @property
    def is_contiguous(self) -> bool:
        return self.contiguous

    def build(self, seed: int, count: int) -> Dataset[Example]:
        if self.contiguous:
            return self.segments(seed, count, rows=1)
        return Generated(partial(window, self.text.train, self.length), f"shakespeare/{seed}", count)

    def segments(self, seed: int, count: int, rows: int) -> Dataset[Example]:
        return Segments(self.text.train, self.length, rows=rows, stream=f"shakespeare/{seed}", count=count)

    def evaluate(self, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        """Return `bits_per_character` and `loss` (nats) over a whole split."""
        ids: Tensor = getattr(self.text, split)
        nats = (mean_nats_in_segments if self.contiguous else mean_nats)(model, ids, self.length)
        return Evaluation(metrics={"bits_per_character": nats / math.log(2), "loss": nats})

    def references(self) -> dict[str, float]:
        text = self.text
        return {"bigram": bigram_bits(text.train, text.test, len(text.characters))}

    def samples(self, model: PreTrainedModel) -> tuple[str, ...]:
        """Return one continuation of `_PROMPT` (of the text's first characters, where it does not know the
        prompt's)."""
        characters = self.text.characters
        prompt = _PROMPT if set(_PROMPT) <= set(characters.alphabet) else characters.decode(self.text.train[:8])
        ids = characters.encode(prompt)[: self.length - 1]
        return (characters.decode(generate(model, ids, tokens=self.length - len(ids))),)

    @property
    def data_hash(self) -> str:
        return self.text.sha256

    def save(self, folder: Path) -> None:
        self.text.characters.save(folder)


def window(ids: Tensor, length: int, stream: random.Random) -> Example:
    """Return a random window of the text; the model shifts the labels itself."""
    start = stream.randrange(len(ids) - length + 1)
    inputs = ids[start : start + length]
    return {"input_ids": inputs, "labels": inputs}


def mean_nats(model: PreTrainedModel, ids: Tensor, length: int) -> float:
    """Return the mean −log p over every token of a text but its first, (N,), read in windows that overlap by one
    token."""
    full = ids.unfold(0, length, length - 1) if len(ids) >= length else ids[:0, None]
    rest = ids[len(full) * (length - 1) :]
    batches = [*full.split(max(1, min(_ROWS, _TOKENS // length)))] if len(full) else []
    batches += [rest[None]] if len(rest) > 1 else []
    with evaluating(model):
        total = sum(_window_nats(model, batch.to(model.device)) for batch in batches)
    return total / (len(ids) - 1)


def _window_nats(model: PreTrainedModel, ids_bl: Tensor) -> float:
    """Return the sum of −log p of tokens 2…L of each row."""
    logits = model(input_ids=ids_bl).logits[:, :-1].float()
    return cross_entropy(logits.flatten(0, 1), ids_bl[:, 1:].flatten(), reduction="sum").item()


def generate(model: PreTrainedModel, ids: Tensor, *, tokens: int, temperature: float = 0.8, seed: int = 0) -> Tensor:
    """Continue a prompt (L,) by sampling; the same seed gives the same text.

    Temperature 0 takes the likeliest token.
    """
    devices = [model.device] if model.device.type == "cuda" else []
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    with torch.random.fork_rng(devices), evaluating(model):
        torch.manual_seed(seed)
        prompt = ids[None].to(model.device)
        out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, **sampling)
        return out[0].cpu()
