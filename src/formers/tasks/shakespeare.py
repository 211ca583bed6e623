"""Language modelling of characters: Tiny Shakespeare, or any text of one's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from formers.tasks.bigram import bigram_bits
from formers.tasks.characters import Characters
from formers.tasks.corpus.pieces import Pieces
from formers.tasks.corpus.tokenizer_kinds import character_tokenizer
from formers.tasks.evaluation import Split
from formers.tasks.metric import TaskMetric
from formers.tasks.next_token import _NextToken
from formers.tasks.text import CharacterText, load_text

if TYPE_CHECKING:
    from pathlib import Path

    from formers.models import TransformerConfig

_PROMPT = "ROMEO:\n"


class Shakespeare(_NextToken):
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
    unit: ClassVar[str] = "characters"
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
    def text(self) -> CharacterText:
        """Return the text's three splits. Raise if the file is missing, empty, binary or too short."""
        text = load_text(self.path)
        if len(text.validation) < 2 or len(text.train) <= self.length:
            raise ValueError(
                f"{self.path}: {len(text.train)} characters of training text are too few for windows of {self.length}"
            )
        return text

    @property
    def coder(self) -> Characters:
        return self.text.characters

    @property
    def origin_of_text(self) -> str:
        return self.path or "Tiny Shakespeare"

    def metrics_of(self, nats: float, split: Split) -> dict[str, float]:
        """Return `bits_per_character` and `loss` (nats)."""
        return {"bits_per_character": nats / math.log(2), "loss": nats}

    def references(self) -> dict[str, float]:
        text = self.text
        return {"bigram": bigram_bits(text.train, text.test, len(text.characters))}

    def prompt(self) -> Tensor:
        """Return the numbers of `_PROMPT`, or of the text's first characters, where it does not know the prompt's."""
        characters = self.text.characters
        prompt = _PROMPT if set(_PROMPT) <= set(characters.alphabet) else characters.decode(self.text.train[:8])
        return characters.encode(prompt)[: self.length - 1]

    @property
    def data_hash(self) -> str:
        return self.text.sha256

    def save(self, folder: Path) -> None:
        """Write the alphabet beside a model, and as a tokenizer that `AutoTokenizer` loads."""
        characters = self.text.characters
        characters.save(folder)
        Pieces(character_tokenizer(characters.alphabet, ends=False)).save(folder)
