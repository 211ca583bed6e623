"""A causal language model as an evaluation asks it: how likely is this text, and how does that one go on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from formers.evaluation.coder import EvaluationCoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_USUAL = 2048
"""Tokens that a model is given where nothing says how many it takes."""


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """A model, its tokens, and how it reads.

    Attributes:
        length: tokens that it reads at a time, at most.
        batch: texts that are read side by side.
        carries: whether it has a memory that goes on from one segment of `length` tokens to the next, so that it reads
            texts of any length. Others read the last `length` tokens.
    """

    model: PreTrainedModel
    coder: EvaluationCoder
    length: int
    batch: int = 8
    carries: bool = False

    @classmethod
    def of(
        cls, model: PreTrainedModel, coder: EvaluationCoder, *, length: int | None = None, batch: int = 8
    ) -> TextModel:
        """Return a model as an evaluation asks it; without a length, with the one that it was made for.

        Raises:
            ValueError: for a length of less than two tokens, or a batch of none.
        """
        length = usual_length(model) if length is None else length
        if length < 2 or batch < 1:
            raise ValueError(f"length must be at least 2 and batch at least 1, not {length} and {batch}")
        memory = getattr(model.config, "memory", None)
        return cls(
            model=model.eval(),
            coder=coder,
            length=length,
            batch=batch,
            carries=bool(getattr(memory, "carried", False)),
        )


def usual_length(model: PreTrainedModel) -> int:
    """Return the tokens that a model was made for, as its configuration says, or 2,048 where it does not."""
    names = ("context_length", "max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")
    found = (getattr(model.config, name, None) for name in names)
    return next((length for length in found if isinstance(length, int) and length > 1), _USUAL)
