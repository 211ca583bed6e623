"""Classification of a user's own labelled texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from formers.tasks.classification import _TextClassification
from formers.tasks.records import LabelledColumns, Record, labelled, split_records
from formers.tasks.sources import locate
from formers.tasks.splits import Side

if TYPE_CHECKING:
    from formers.models import TransformerConfig

_HOW = (
    "Give classify(path=…) a CSV, TSV, JSON or JSON lines file with the columns text and label (columns=[…] and "
    "label=… name others), a folder of them by split (train.csv, test.csv), a folder of label/*.txt, or a zip file of "
    "one"
)


class Classify(_TextClassification):
    """Give texts, or pairs of texts, of one's own their class: any number of classes.

    Data: a table (.csv, .tsv, .json, .jsonl), a folder of tables by split (`train.csv`, `dev.csv`, `test.csv`), a
    folder `label/*.txt`, also below `train/` and `test/`, or a zip file of one. Without published splits a text belongs
    to training (8 in 10), validation or test by a checksum, so that it is never in two. `macro_f1` is reported beside
    the accuracy, for classes that are not equally common.
    """

    length: int = 128
    "Tokens of a text, or of a pair with its separator, that are read; shorter ones are padded."
    columns: tuple[str, ...] = ()
    """The column of the text in a table, or the two of a pair; `text`, `review` or `sentence` unless given."""
    label: str | None = None
    "The column of the class in a table; `label` or `sentiment` unless given."

    description: ClassVar[str] = (
        "Give labelled texts of one's own their class. Measured on the published test split, or on the tenth that a "
        "checksum of the text holds out."
    )
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "linear: mixer=linear",
        "performer: mixer=performer",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 300, "batch_size": 32, "learning_rate": 3e-3}

    def check(self) -> None:
        super().check()
        if len(self.columns) > 2:
            raise ValueError(
                f"classify: a text has one column, and a pair two, but {len(self.columns)} were given: {self.columns}"
            )

    def place(self) -> Path:
        return locate(self.path, (), _HOW)

    def read(self, place: Path | None) -> Mapping[Side, Sequence[Record]]:
        assert place is not None
        known = LabelledColumns()
        texts = tuple((name.lower(),) for name in self.columns) or known.texts
        columns = LabelledColumns(texts, known.label if self.label is None else (self.label.lower(),))
        return split_records(labelled(place, columns), place)

    def base(self) -> TransformerConfig:
        names = self.data.classes
        return super().base().swap(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})

    def more_metrics(self, found: Tensor, labels: Tensor) -> dict[str, float]:
        """Return `macro_f1`: 2·TP / (2·TP + FP + FN) of each class, on average over those that come."""
        classes = torch.cat([found, labels]).unique()
        hits = torch.stack([((found == c) & (labels == c)).sum() for c in classes])
        counted = torch.stack([(found == c).sum() + (labels == c).sum() for c in classes])
        return {"macro_f1": (2 * hits / counted).mean().item()}
