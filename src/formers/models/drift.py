"""How far the outputs of one model are from those of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from formers.part import evaluating

_SAME = 1e-5
"""A difference that rounding alone may make."""


@dataclass(frozen=True)
class Drift:
    """How far outputs moved, on some tokens.

    Attributes:
        tokens: tokens of each row that both models read.
        difference: ‖new − old‖ / ‖old‖ over all outputs; of scores, the means of each token's are left out, as they
            change no probability.
        agreement: the share of outputs whose largest score is the same one; None where outputs are no scores.
    """

    tokens: int
    difference: float
    agreement: float | None

    def __str__(self) -> str:
        if self.difference < _SAME:
            return (
                f"drift on {self.tokens} tokens: none, so that nothing was lost, or nothing to be seen: windows that "
                "hold so few tokens whole change nothing on them"
            )
        agreeing = "" if self.agreement is None else f"; {100 * self.agreement:.0f} % of the best scores stay the best"
        percent = 100 * self.difference
        size = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
        return f"drift on {self.tokens} tokens: outputs move by {size} % of their size{agreeing}"


def output_drift(old: Any, new: Any, inputs: Mapping[str, Tensor]) -> Drift:
    """Return how far a model's outputs are from those of the model that it comes from.

    Args:
        inputs: tokens, (B, L), by the names of what the models read.
    """
    with evaluating(old), evaluating(new):
        outputs = [one(**inputs) for one in (old, new)]
    want, got = (one[0].float() for one in outputs)
    agreement = None
    if "logits" in outputs[0]:
        agreement = float((want.argmax(-1) == got.argmax(-1)).float().mean())
        want, got = (one - one.mean(-1, keepdim=True) for one in (want, got))
    return Drift(next(iter(inputs.values())).shape[1], float((got - want).norm() / want.norm()), agreement)
