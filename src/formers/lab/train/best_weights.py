"""The weights with the best validation metric so far, kept on disk while an arm trains, and in its checkpoints."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from formers.lab.distributed import ranks
from formers.lab.distributed.full_state import full_weights, load_full_weights
from formers.lab.store.write_error import reporting_write_errors
from formers.machine.files import flush_to_disk, remove
from formers.tasks.metric import TaskMetric

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

BEST_WEIGHTS = "best.safetensors"
"""The file's name, beside the checkpoints of a training and in each of them."""


class BestWeights:
    """One file with the best weights so far. The file itself holds their step and value, so the two cannot disagree.

    Rank 0 reads and writes it. All ranks have to call `offer`, and `restore`, at the same point.

    The file is for the process that wrote it. Each checkpoint holds it as it was then, sealed as all its files are, and
    a training that goes on takes it from there.

    Of equal values, the earlier step is the better one: a training that is resumed from before the best step, and
    reaches it a second time, ends with the same choice as one that was never stopped.
    """

    def __init__(self, folder: Path, metric: TaskMetric) -> None:
        self.path, self.metric = folder / BEST_WEIGHTS, metric

    def offer(self, model: PreTrainedModel, step: int, value: float) -> None:
        """Keep the model's weights if `value`, measured after `step` steps, is better than what is kept."""
        kept = self._kept_on_rank0()
        if kept is not None and self._sort_key(*kept) <= self._sort_key(step, value):
            return
        weights = full_weights(model)
        if ranks.is_rank0():
            self._write(weights, {"step": str(step), "value": repr(value)})

    def restore(self, model: PreTrainedModel) -> int:
        """Load the best weights into the model, and return the step after which they were kept.

        Raises:
            FileNotFoundError: where none were kept.
        """
        kept = self._kept_on_rank0()
        if kept is None:
            raise FileNotFoundError(f"{self.path} is missing: no evaluation of this training was kept")
        load_full_weights(model, load_file(self.path) if ranks.is_rank0() else {})
        return kept[0]

    def copy_to(self, checkpoint: Path) -> None:
        """Put what is kept, if anything is, into the folder of a checkpoint. Raise WriteError where that fails."""
        if self.path.is_file():
            with reporting_write_errors("the best weights", checkpoint):
                shutil.copyfile(self.path, checkpoint / BEST_WEIGHTS)

    def take_from(self, checkpoint: Path | None) -> None:
        """Keep what a sealed checkpoint holds instead of what is there; nothing without one, or where it holds none."""
        remove(self.path)
        if checkpoint and (checkpoint / BEST_WEIGHTS).is_file():
            with reporting_write_errors("the best weights", self.path):
                shutil.copyfile(checkpoint / BEST_WEIGHTS, self.path)

    def _write(self, weights: dict[str, Tensor], facts: dict[str, str]) -> None:
        part = self.path.with_suffix(".part")
        remove(part)
        with reporting_write_errors("the best weights", self.path):
            save_file(weights, str(part), metadata=facts)
            flush_to_disk(part)
            os.replace(part, self.path)

    def _sort_key(self, step: int, value: float) -> tuple[float, int]:
        """Return a key that is smaller for what is better."""
        return (value if self.metric.lower_is_better else -value), step

    def _kept_on_rank0(self) -> tuple[int, float] | None:
        return ranks.broadcast_from_rank0(self._read_step_and_value() if ranks.is_rank0() else None)

    def _read_step_and_value(self) -> tuple[int, float] | None:
        """Return the step and the value of what is kept, if anything is."""
        if not self.path.is_file():
            return None
        with safe_open(str(self.path), framework="pt") as file:
            facts = file.metadata()
        return int(facts["step"]), float(facts["value"])
