"""The memory of each row of a batch, handed on from one training step to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from formers.models import StateCache
from formers.models.cache import store_states
from formers.part import state_from_tree, state_tree
from formers.tasks.task import BEGINS

if TYPE_CHECKING:
    from formers.models.pretrained import FormersModel

_FILLING = 64
"""Segments that a memory is filled with, at most, before steps are timed."""


class CarriedMemory:
    """The states after the last segment of each row, cut off from the graph, of a model whose memory is carried on.

    With any other model, and with examples that do not say where rows begin anew, it does nothing.
    """

    def __init__(self, model: FormersModel) -> None:
        self.model = model
        self.cache: StateCache | None = None

    def enter(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return a batch with the memory that belongs to its rows, empty where they begin anew."""
        begins = inputs.get(BEGINS)
        inputs = {name: value for name, value in inputs.items() if name != BEGINS}
        if begins is None or not self.model.config.memory.carried:
            return inputs
        if self.cache is None or all(begins):
            self.cache = StateCache()
        elif any(begins):
            self.cache.reset_rows(torch.tensor(begins))
        return inputs | {"past_key_values": self.cache}

    def leave(self) -> None:
        """Cut the memory off from the graph, once the gradients of the step are there."""
        if self.cache is not None:
            self.cache.detach()

    def fill(self, batch: dict[str, Any]) -> None:
        """Fill the memory by reading a batch over and over, 64 times at most."""
        config, length = self.model.config, batch["input_ids"].shape[1]
        for _ in range(min(-(-config.memory.tokens(config.context_length) // length), _FILLING)):
            with torch.no_grad():
                self.model(**self.enter(batch))
            batch = batch | ({BEGINS: [False] * len(batch[BEGINS])} if BEGINS in batch else {})

    def to_tree(self) -> Any:
        """Return the memory as `save_state` takes it; None where there is nothing in it."""
        if self.cache is None or not self.cache.get_seq_length():
            return None
        first = self.cache.layers[0]
        states = [state_tree(layer.state) for layer in self.cache.layers]
        return {"tokens": first.length, "mask": first.mask_bl, "states": states}

    def from_tree(self, tree: Any) -> None:
        """Go on from what `to_tree` returned."""
        self.cache = None if tree is None else StateCache()
        if tree is not None and self.cache is not None:
            device = self.model.device
            states = [state_from_tree(state, device) for state in tree["states"]]
            mask_bl = None if tree["mask"] is None else tree["mask"].to(device)
            store_states(self.cache, states, mask_bl, tree["tokens"])
