"""The configuration of a Decision Transformer."""

from __future__ import annotations

from typing import Any

from formers.models.config import TransformerConfig
from formers.norms import LayerNorm
from formers.part import value_json
from formers.positions import NoPosition

_NORMS = ("embedding_norm", "final_norm")
"""Options that files hold also where they are None."""


class DecisionConfig(TransformerConfig):
    """Sizes and parts of a `DecisionTransformer`: those of every model, and of what it sees and does.

    By default it is the published wiring: no position but the timestep, and a layer norm behind the embedding.

    Attributes:
        state_size: numbers in a state, S.
        action_size: number of different actions, or of components of a continuous one, A.
        discrete_actions: whether an action is one of A, or A numbers from −1 to 1.
        return_conditioned: whether each step begins with the return that is still asked for; without it, the model
            clones behaviour.
        longest_episode: timesteps that are told apart, 0 … longest_episode − 1.
    """

    effective = frozenset()
    model_type = "formers_decision"

    position: Any = NoPosition()
    embedding_norm: Any = LayerNorm()
    state_size: int = 4
    action_size: int = 2
    discrete_actions: bool = True
    return_conditioned: bool = True
    longest_episode: int = 1000

    @property
    def tokens_per_step(self) -> int:
        """The tokens that a step is read as: return, state and action, or without returns, two."""
        return 3 if self.return_conditioned else 2

    def to_dict(self) -> dict[str, Any]:
        """Return everything as `TransformerConfig` does, and norms that are None too: not every default is."""
        return super().to_dict() | {name: value_json(getattr(self, name)) for name in _NORMS}
