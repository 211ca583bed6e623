"""The weights that did best on the validation split, kept on disk while an arm trains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from formers.lab.distributed import ranks
from formers.lab.distributed.full_state import put_weights, weights_of
from formers.lab.store.write_error import writing
from formers.machine.files import flush_to_disk
from formers.tasks.metric import TaskMetric

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_FILE = "best.safetensors"


class Best:
    """One file with the best weights so far; which step they are of stands in the file itself, so the two cannot disagree.

    The first of several ranks reads and writes it. All of them have to offer, and to restore, at the same point.

    Of equal values the earlier step is the better one: a training that is resumed from before the best step, and comes by it
    a second time, ends with the same choice as one that was never stopped.
    """

    def __init__(self, folder: Path, metric: TaskMetric) -> None:
        self.path, self.metric = folder / _FILE, metric

    def offer(self, model: PreTrainedModel, step: int, value: float) -> None:
        """Keeps the model's weights if `value` is better than what is kept."""
        kept = ranks.broadcast_from_rank0(self.kept() if ranks.is_rank0() else None)
        if kept is not None and self.order(*kept) <= self.order(step, value):
            return
        weights = weights_of(model)
        if ranks.is_rank0():
            self.write(weights, {"step": str(step), "value": repr(value)})

    def write(self, weights: dict[str, Tensor], facts: dict[str, str]) -> None:
        part = self.path.with_suffix(".part")
        with writing("the best weights", self.path):
            save_file(weights, str(part), metadata=facts)
            flush_to_disk(part)
            os.replace(part, self.path)

    def whole(self) -> bool:
        """Whether a file is there that can be read."""
        try:
            return self.kept() is not None
        except SafetensorError:
            return False

    def order(self, step: int, value: float) -> tuple[float, int]:
        """Less is better."""
        return (value if self.metric.lower_is_better else -value), step

    def kept(self) -> tuple[int, float] | None:
        """The step and the value of what is kept, if anything is."""
        if not self.path.is_file():
            return None
        with safe_open(str(self.path), framework="pt") as file:
            facts = file.metadata()
        return int(facts["step"]), float(facts["value"])

    def restore(self, model: PreTrainedModel) -> int:
        """Puts the best weights into the model, and returns the step they are of."""
        kept = ranks.broadcast_from_rank0(self.kept() if ranks.is_rank0() else None)
        if kept is None:
            raise FileNotFoundError(f"{self.path} is missing: no evaluation of this training was kept")
        put_weights(model, load_file(self.path) if ranks.is_rank0() else {})
        return kept[0]
