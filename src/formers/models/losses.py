"""Losses that the heads share: the numbers of Hugging Face's heads, or an error that says which labels are expected.

Each takes `count`, the labels in all micro-batches of one optimizer step, which Hugging Face's trainer hands over as
`num_items_in_batch`: the loss is then the sum over `count`, so that micro-batches add up to the mean over the step,
however the labels are spread over them. Without it, the loss is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.loss.loss_utils import fixed_cross_entropy

from formers.part import CollectedLosses

IGNORED = -100
"""The label that does not count, as everywhere in Hugging Face."""

_CLASSES = "single_label_classification"
_SEVERAL = "multi_label_classification"
_NUMBERS = "regression"


def cross_entropy(logits: Tensor, labels: Tensor, count: Tensor | int | None = None) -> Tensor:
    """Return the mean −log p of the labels in nats, without those that are −100; computed in float32 or wider.

    Args:
        logits: (…, classes).
        labels: integers of any width, (…), or flat, or with a last dimension of 1.
        count: what the sum is divided by, instead of the number of labels.

    Raise ValueError for labels of another shape or dtype, and (on the CPU) for classes that do not exist.
    """
    rows = tuple(logits.shape[:-1])
    _check_shape(
        labels,
        rows,
        ((logits.shape[:-1].numel(),), (*rows, 1)),
        "one class each; a classifier of sequences takes several at once as floats, or with "
        'problem_type="multi_label_classification"',
    )
    classes = _as_classes(labels).flatten().to(logits.device)
    try:
        return fixed_cross_entropy(_widened(logits).flatten(0, -2), classes, count, IGNORED)
    except IndexError as error:
        raise ValueError(
            f"labels go from {int(classes.min())} to {int(classes.max())}, but there are {logits.shape[-1]} classes; "
            f"give 0 to {logits.shape[-1] - 1}, or {IGNORED} for what does not count"
        ) from error


def next_token_loss(logits: Tensor, labels: Tensor, count: Tensor | int | None = None) -> Tensor:
    """Return the cross-entropy of each token's logits with the label of the next one.

    Args:
        logits: (B, L, vocabulary).
        labels: (B, L), the tokens themselves: they are shifted here. Or with one more, (B, L + 1), the token after the
            last one, as where a text goes on in the next segment.
        count: what the sum is divided by, instead of the number of labels.
    """
    why = "the tokens themselves, and perhaps one more behind them; with logits_to_keep, those that are kept"
    rows, length = logits.shape[0], logits.shape[1]
    _check_shape(labels, (rows, length), ((rows, length + 1),), why)
    return cross_entropy(logits[:, : labels.shape[1] - 1], labels[:, 1:], count)


def sequence_loss(
    logits: Tensor, labels: Tensor, problem_type: str | None = None, count: Tensor | int | None = None
) -> Tensor:
    """Return the loss of a classifier of sequences for one class, several at once, or numbers.

    Args:
        logits: (B, num_labels).
        labels: a class for each sequence, (B); or 0 and 1 for each class, or numbers, (B, num_labels).
        problem_type: "single_label_classification" (cross-entropy), "multi_label_classification" (binary
            cross-entropy) or "regression" (squared error). None takes regression for num_labels=1, and otherwise
            several classes at once for labels that are floats or booleans, and one for integers.
        count: what the sum is divided by, instead of the number of labels.
    """
    problem = problem_type or _problem_of(logits, labels)
    if problem == _CLASSES:
        if logits.shape[-1] == 1:
            raise ValueError(f"{_CLASSES} needs num_labels of 2 or more, but there is 1; use 2, or {_NUMBERS}")
        return cross_entropy(logits, labels, count)
    if problem not in (_SEVERAL, _NUMBERS):
        raise ValueError(f"problem_type must be {_NUMBERS!r}, {_CLASSES!r} or {_SEVERAL!r}, but {problem!r} was given")
    batch, num_labels = logits.shape
    also = ((batch,), (1, batch)) if num_labels == 1 else ()
    why = f"{problem}, which {'was set' if problem_type else 'their dtype means'}, with num_labels={num_labels}"
    _check_shape(labels, (batch, num_labels), also, f"{why}; set problem_type for another loss")
    scores = _widened(logits)
    targets = labels.to(scores.device, scores.dtype).reshape(scores.shape)
    loss = F.mse_loss if problem == _NUMBERS else F.binary_cross_entropy_with_logits
    if count is None:
        return loss(scores, targets)
    return loss(scores, targets, reduction="sum") / (count.to(scores.device) if isinstance(count, Tensor) else count)


def with_auxiliary(
    loss: Tensor, auxiliary: CollectedLosses | None, labels: Tensor, count: Tensor | int | None = None
) -> Tensor:
    """Return the task's loss plus the sum of those that parts added.

    With a count, the auxiliary part is weighted by the share of the step's labels that are here: over micro-batches it
    comes to their mean, as the task's loss does, however many there are.

    Args:
        loss: of the task.
        auxiliary: as `ModelWithHead.collecting_losses` gives it; None, out of training, adds nothing.
        labels: those that count unless they are −100; shifted, where the loss shifts them.
        count: what the task's sum is divided by.
    """
    total = None if auxiliary is None else auxiliary.total()
    if total is None:
        return loss
    if count is not None:
        here = (labels != IGNORED).sum()
        total = total * here / (count.to(here.device) if isinstance(count, Tensor) else count)
    return loss + total


def _problem_of(logits: Tensor, labels: Tensor) -> str:
    """Return the type of problem that the number of labels and their dtype mean."""
    if logits.shape[-1] == 1:
        return _NUMBERS
    return _SEVERAL if labels.is_floating_point() or labels.dtype == torch.bool else _CLASSES


def _check_shape(labels: Tensor, expected: tuple[int, ...], also: Sequence[tuple[int, ...]], why: str) -> None:
    """Raise ValueError unless the labels have the expected shape or one that means the same."""
    if tuple(labels.shape) not in (expected, *also):
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}; expected {expected}: {why}"
        )


def _as_classes(labels: Tensor) -> Tensor:
    """Return integers as int64, which torch's loss wants. Raise ValueError for what is no integer."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels have dtype {labels.dtype}; expected integers, one class each: use labels.long()")
    return labels.long()


def _widened(logits: Tensor) -> Tensor:
    """Return logits in float32, if they are narrower."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
