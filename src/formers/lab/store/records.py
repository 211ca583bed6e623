"""The records of trained arms: rows, the points of their curves, and the results of a whole study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from formers.tasks.metric import TaskMetric
from formers.tasks.picture import Picture

__all__ = ["LengthResult", "Point", "Results", "Row", "Status", "TaskMetric"]

Status = Literal["finished", "failed", "diverged", "out_of_memory", "unsupported", "pruned", "stopped"]
NOTHING_MATCHED = "nothing"
"""`Results.matched` of studies with different budgets, which are shown as one."""
FINAL: tuple[Status, ...] = ("finished", "diverged", "unsupported", "pruned")
"""Statuses of rows that are kept when a study is started again; arms with other ones are tried again."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement on the way: after `step` optimiser steps and `seconds` of training time."""

    step: int
    seconds: float
    values: dict[str, float]
    "Metric name → value; `train_loss` from the training batches, everything else from an evaluation."


@dataclass(frozen=True, kw_only=True)
class LengthResult:
    """A trained model's results on the test split at one length, or the reason why it has none there."""

    length: int
    "Tokens in an example."
    times: float
    "The length over the trained one."
    metrics: dict[str, float] = field(default_factory=dict)
    "Metric name → value, measured with the weights of `chosen_step`; empty where the model cannot take the length."
    cannot: str = ""
    "The reason why there is no result, in one line: too few positions or memory, or a fault of the task."


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm trained with one seed: its configuration, its results, its costs, and the command that repeats it."""

    arm: str
    "The arm's label: the choices in which it differs from the base, in text form."
    seed: int
    status: Status
    cause: str = ""
    "The reason why it did not finish, in one line; empty when it did."
    choices: dict[str, str] = field(default_factory=dict)
    "Axis → part in text form, for every axis (`mixer`, `position`, `residual`, `norm`, `ffn`)."
    config: dict[str, Any] = field(default_factory=dict)
    "The whole model configuration, as in config.json."
    metrics: dict[str, float] = field(default_factory=dict)
    "Metric name → value on the test split, measured once, with the weights of `chosen_step`."
    validation: dict[str, float] = field(default_factory=dict)
    "Metric name → value on the validation split at `chosen_step`."
    chosen_step: int = 0
    "The evaluated step with the best validation metric."
    slices: dict[str, dict[str, float]] = field(default_factory=dict)
    "Title → label → the ranking metric over that part of the test split, as in `pairs` → `16` → 0.93."
    items: tuple[float, ...] = ()
    "The ranking metric of each test item, where it is their mean; the same items in the same order in every row."
    lengths: tuple[LengthResult, ...] = ()
    "Results at other lengths than the trained one, and at that, from short to long, if the study tests at others."
    curve: tuple[Point, ...] = ()
    "Training loss and validation metrics on the way."
    samples: tuple[str, ...] = ()
    "Texts that the trained model wrote, if the task asks for samples."
    pictures: tuple[Picture, ...] = ()
    "Pictures that the trained model made, if the task asks for some."
    steps: int = 0
    parameters: int = 0
    flops_per_token: float | None = None
    "Floating-point operations of one forward pass, per token, at the task's length; with all steps through the layers."
    steps_per_token: float | None = None
    "Steps or layers that a token of the test split took on average; None where all take the same, or nothing did."
    flops_per_token_taken: float | None = None
    "The operations with as many steps as `steps_per_token` says: the least that such a pass costs."
    state_bytes_per_token: float | None = None
    "Bytes that the streaming state grows by with each token; None where the model does not stream."
    state_bytes: float | None = None
    "Bytes of one sequence's streaming state at the task's length; None where the model does not stream."
    latency_seconds: float | None = None
    "Seconds of a forward pass over one example before training, where a search bounds it."
    train_seconds: float = 0.0
    tokens_per_second: float = 0.0
    peak_bytes: int | None = None
    "The peak memory of the training: of a GPU's allocator, or of the whole process on a CPU, libraries included."
    tensor_bytes: int | None = None
    "The most bytes of tensors alive at once: of a GPU's allocator, or in one step on a CPU. None in older rows."
    environment: dict[str, str] = field(default_factory=dict)
    "Versions, device, threads, commit."
    budget: dict[str, float] = field(default_factory=dict)
    "What the run was given, by the names of `Budget`'s attributes; empty in rows of versions that did not keep it."
    options: dict[str, str] = field(default_factory=dict)
    "Searched option → the value of this run; empty where the study searches none."
    is_search: bool = False
    "Trained to choose between values of the options: measured on the validation split alone, and never ranked."
    search_id: str = ""
    "Names the larger search that this is a trial of; empty elsewhere."
    data_hash: str = ""
    command: str = ""
    "The command line that repeats this row."
    fingerprint: str = ""
    "sha256 of the task, configuration, budget, seed and data: equal rows are the same experiment."

    @property
    def training_flops(self) -> float | None:
        """Floating-point operations of the whole training; a backward pass counts for two forward ones."""
        tokens = self.train_seconds * self.tokens_per_second
        return 3 * self.flops_per_token * tokens if self.flops_per_token and tokens else None

    @property
    def allocated_bytes(self) -> int | None:
        """`tensor_bytes`, and for older rows what a GPU's allocator counted; a CPU's process tells nothing."""
        on_gpu = not self.environment.get("device", "cpu").startswith("cpu")
        return self.peak_bytes if self.tensor_bytes is None and on_gpu else self.tensor_bytes


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that a report shows about one study."""

    title: str
    description: str
    "The task in a sentence or two."
    metric: TaskMetric
    "The metric that ranks the arms."
    rows: tuple[Row, ...]
    references: dict[str, float] = field(default_factory=dict)
    "Named lines to compare with, in the ranking metric: for instance `bigram`."
    budget: str = ""
    "The budget of every arm, in words: `400 steps × 16 × 128 tokens`; that of the base where the same time is matched."
    matched: str = "steps"
    "The quantity that was made equal between arms."
    command: str = ""
    "The command line that runs the whole study again."
    search: tuple[Row, ...] = ()
    "The runs by which each arm took its options, if the study searches some."
    under: dict[str, float] = field(default_factory=dict)
    "Attribute of a row → the most that trials of a larger search may have; its front is against the first."
    at_other_lengths: str = ""
    "How the task's test split is read at other lengths, as a sentence; empty where no row has results there."
