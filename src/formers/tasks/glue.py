"""Four tasks of the GLUE benchmark: CoLA, QNLI, RTE and SST-2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from formers.tasks.classification import _TextClassification
from formers.tasks.hub import hub_rows
from formers.tasks.metric import TaskMetric
from formers.tasks.records import Record
from formers.tasks.sources import HUB, locate
from formers.tasks.splits import Side, side_of
from formers.tasks.tables import TableRow, read_table

SHARE, MOST = 10, 1024  # one training text in ten is for validation; this many of them are read
_MATTHEWS = TaskMetric(name="matthews_correlation", label="Matthews correlation", lower_is_better=False)
_ACCURACY = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)


@dataclass(frozen=True)
class _TaskFiles:
    """The files of one task: folder names, file name patterns by split, columns, classes as the hub numbers them."""

    folders: tuple[str, ...]
    train: tuple[str, ...]
    dev: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    header: tuple[str, ...] | None = None


_ENTAILMENT = ("entailment", "not_entailment")
_LAYOUTS = {
    "cola": _TaskFiles(
        ("cola", "CoLA", "cola_public/raw"),
        ("train.tsv", "in_domain_train.tsv"),
        ("dev.tsv", "in_domain_dev.tsv", "out_of_domain_dev.tsv"),
        (("sentence",),),
        ("0", "1"),
        ("source", "label", "mark", "sentence"),
    ),
    "qnli": _TaskFiles(
        ("qnli", "QNLI"),
        ("train*.tsv", "train*.json"),
        ("dev.tsv",),
        (("question", "text_a"), ("sentence", "text_b")),
        _ENTAILMENT,
    ),
    "rte": _TaskFiles(
        ("rte", "RTE"),
        ("train*.tsv", "train*.json"),
        ("dev.tsv",),
        (("sentence1", "text_a"), ("sentence2", "text_b")),
        _ENTAILMENT,
    ),
    "sst2": _TaskFiles(("sst2", "SST-2"), ("train.tsv",), ("dev.tsv",), (("sentence",),), ("0", "1")),
}
"""Several file names in one split are read together, as they come."""
_ARCHIVES = {"cola": "CoLA", "qnli": "QNLIv2", "rte": "RTE", "sst2": "SST-2"}
_DESCRIPTIONS = {
    "cola": "CoLA: is a sentence grammatical?",
    "qnli": "QNLI: does a sentence answer a question?",
    "rte": "RTE: does one text follow from another?",
    "sst2": "SST-2: does a phrase of a film review praise or pan?",
}


class Glue(_TextClassification):
    """A task of GLUE: `glue(task=cola)`, or `glue/cola` on the command line; cola, qnli, rte or sst2.

    The official development set is the test split, since labels of the official test are not public. Validation is a
    tenth of the training texts, chosen by a checksum (at most 1,024 of them; the rest of the tenth is not used).
    SST-2's training texts are phrases of sentences, so its validation accuracy is higher than its test accuracy can be.
    A pair of texts is read with a separator between. CoLA is ranked by Matthews correlation, the others by accuracy.
    Scores of models trained on these sets alone are far below those of pretrained ones. Source: Wang et al. 2018,
    arXiv:1804.07461.

    Data: a copy of the task's folder from GLUE (train.tsv, dev.tsv), or CoLA's own release (in_domain_train.tsv, …).
    """

    length: int = 64
    "Tokens of a text, or of a pair with its separator, that are read; shorter ones are padded."
    task: Literal["cola", "qnli", "rte", "sst2"]
    "Which of GLUE's tasks."

    metric: ClassVar[TaskMetric] = _ACCURACY
    description: ClassVar[str] = "A task of GLUE."
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: mixer=softmax",
        "linear: mixer=linear",
        "performer: mixer=performer",
        "pool: mixer=pool",
        "identity: mixer=identity",
    )
    budget: ClassVar[dict[str, float]] = {"steps": 500, "batch_size": 32, "learning_rate": 3e-3}

    def check(self) -> None:
        super().check()
        object.__setattr__(self, "metric", _MATTHEWS if self.task == "cola" else _ACCURACY)
        measured = "Measured on the official development set; a tenth of the training texts validates."
        object.__setattr__(self, "description", f"{_DESCRIPTIONS[self.task]} {measured}")

    @property
    def layout(self) -> _TaskFiles:
        return _LAYOUTS[self.task]

    def place(self) -> Path | None:
        if self.path == HUB:
            return None
        names = [f"{home}{name}" for home in ("", "glue/") for name in self.layout.folders]
        return locate(self.path, names, how(self.task))

    def read(self, place: Path | None) -> Mapping[Side, Sequence[Record]]:
        train = self.downloaded("train") if place is None else self.records(place, self.layout.train)
        test = self.downloaded("validation") if place is None else self.records(place, self.layout.dev)
        held_out = [record for record in train if side_of(record.content, SHARE) == "validation"][:MOST]
        kept = [record for record in train if side_of(record.content, SHARE) != "validation"]
        return {"train": kept, "validation": held_out, "test": test}

    def records(self, place: Path, patterns: Sequence[str]) -> list[Record]:
        """Return the records of every file in the folder that is named so.

        Raise `FileNotFoundError` where there is none.
        """
        files = sorted({file for pattern in patterns for file in place.glob(pattern)})
        if not files:
            raise FileNotFoundError(f"no data: {place} has no {' or '.join(patterns)}. {how(self.task)}")
        return [self.record(row) for file in files for row in read_table(file, self.layout.header)]

    def record(self, row: TableRow) -> Record:
        label = row.column(("label",))
        if label not in self.layout.classes:
            raise ValueError(
                f"{row.origin}: a label must be {' or '.join(self.layout.classes)}, but {label!r} was found"
            )
        return Record(tuple(row.column(names) for names in self.layout.columns), label)

    def downloaded(self, split: str) -> list[Record]:
        """Return a split from nyu-mll/glue on the hub, where classes are numbers."""
        classes, names = self.layout.classes, [names[0] for names in self.layout.columns]
        found = hub_rows("nyu-mll/glue", f"{self.task}/{split}-00000-of-00001.parquet")
        return [Record(tuple(row[name] for name in names), classes[row["label"]]) for row in found]

    def score(self, found: Tensor, labels: Tensor) -> float:
        return matthews(found, labels) if self.metric is _MATTHEWS else super().score(found, labels)


def how(task: str) -> str:
    """Return how to get a task's data, as an error says it."""
    url = f"https://dl.fbaipublicfiles.com/glue/data/{_ARCHIVES[task]}.zip"
    return (
        f"Get it with `curl -LO {url} && unzip {_ARCHIVES[task]}.zip` and give glue(task={task}, path=…) the folder, "
        f"or set FORMERS_DATA to the folder it lies in; glue(task={task}, path='hub') downloads it from the hub "
        "(nyu-mll/glue)"
    )


def matthews(found: Tensor, labels: Tensor) -> float:
    """Return Matthews' correlation of classes 0 and 1; 0 where a factor is 0. Source: Matthews 1975.

    (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)).
    """
    tp, tn = ((found == c) & (labels == c) for c in (1, 0))
    fp, fn = ((found == c) & (labels != c) for c in (1, 0))
    a, b, c, d = (float(mask.sum()) for mask in (tp, tn, fp, fn))
    scale = (a + c) * (a + d) * (b + c) * (b + d)
    return (a * b - c * d) / scale**0.5 if scale else 0.0
