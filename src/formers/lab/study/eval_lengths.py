"""Lengths at which trained models are tested besides the trained one: `2x` is twice that, `512` a number of tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from formers.part import quoted
from formers.tasks.task import Task

EvalLength: TypeAlias = int | str
"""A number of tokens, or a multiple of the trained length such as `2x`."""

_MULTIPLE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*[xX×]")
_COUNT = re.compile(r"\d{1,9}")
_MOST = 100
"""Lengths of one study: as many as a plot can show, and more."""


def parse_eval_lengths(given: Any) -> tuple[EvalLength, ...]:
    """Return the lengths in a list of texts and numbers, or in a text such as `1x, 2x, 512`.

    Raises:
        ValueError: for what is neither a multiple nor a number of tokens, and for too many of them.
    """
    pieces = [piece for piece in given.split(",") if piece.strip()] if isinstance(given, str) else given
    if not isinstance(pieces, Iterable):
        raise ValueError(f"eval_lengths are a list such as [1x, 2x, 512], not {quoted(given)}")
    lengths = tuple(map(_parse_length, pieces))
    if len(lengths) > _MOST:
        raise ValueError(f"eval_lengths: there may be {_MOST} of them, not {len(lengths)}")
    return lengths


def _parse_length(piece: Any) -> EvalLength:
    """Return a length in its one form: `2x` for ` 2.0 X`, and 512 for `512`."""
    text = str(piece).strip() if isinstance(piece, (str, int)) and not isinstance(piece, bool) else ""
    if _COUNT.fullmatch(text) and int(text) > 0:
        return int(text)
    if (multiple := _MULTIPLE.fullmatch(text)) and float(multiple[1]) > 0:
        return f"{float(multiple[1]):.12g}x"
    raise ValueError(
        f"a length to test at is a multiple of the trained one, such as 2x, or a number of tokens, such as 512, "
        f"not {quoted(piece)}"
    )


def token_counts(lengths: Sequence[EvalLength], trained: int) -> tuple[int, ...]:
    """Return the lengths in tokens, and the trained one, from short to long.

    Raises:
        ValueError: where a multiple is no whole number of tokens, and where two of them are the same length.
    """
    counts: dict[int, EvalLength] = {}
    for length in lengths:
        count = _token_count(length, trained)
        if count in counts:
            raise ValueError(
                f"eval_lengths: {counts[count]} and {length} are both {count} tokens, of a trained length of {trained}"
            )
        counts[count] = length
    return tuple(sorted({*counts, trained}))


def _token_count(length: EvalLength, trained: int) -> int:
    count = Fraction(length) if isinstance(length, int) else Fraction(length.removesuffix("x")) * trained
    if count.denominator != 1:
        raise ValueError(
            f"eval_lengths: {length} of a trained length of {trained} is no whole number of tokens; give a number of "
            "tokens instead"
        )
    return int(count)


def check_eval_lengths(task: Task, lengths: Sequence[EvalLength]) -> None:
    """Raise ValueError for a task whose models cannot be tested at these lengths; the data is not read."""
    if not lengths:
        return
    if not task.at_other_lengths:
        from formers.tasks import TASKS  # imports every task

        able = ", ".join(kind.name() for kind in TASKS if kind.at_other_lengths)
        raise ValueError(
            f"{task.name()} is tested at its own length only, so eval_lengths cannot be {quoted(list(lengths))}; leave "
            f"them out, or take a task that can be tested at others ({able}, or your own with at_other_lengths)"
        )
    for count in token_counts(lengths, task.length):
        try:
            task.swap(length=count)
        except ValueError as error:
            raise ValueError(f"eval_lengths: {task.name()} cannot be {count} tokens long: {error}") from error
