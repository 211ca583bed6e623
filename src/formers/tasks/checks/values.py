"""Plain numbers, names and texts from what people's code returns, NumPy's numbers and tensors among it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from formers.part import quoted

_NAME = re.compile(r"\w[\w.: -]*(/\w[\w.: -]*)*")
"""Names that tables, CSV columns and MLflow take alike."""
_LONGEST_NAME = 200
_SHOWN = 60  # characters of a value that a message shows


def as_number(value: Any) -> float:
    """Return a number as a float. Raise TypeError for anything else: texts, bytes, arrays of several numbers."""
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()
    if not isinstance(value, (Real, Decimal)):
        raise TypeError(f"must be a number, not {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise TypeError("must be a number that a float can hold") from None


def as_numbers(value: Any) -> tuple[float, ...]:
    """Return a sequence, array or one-dimensional tensor of numbers. Raise TypeError for anything else."""
    if getattr(value, "ndim", 1) != 1:
        raise TypeError(f"must be a flat list of numbers, not {shown(value)}")
    if callable(getattr(value, "tolist", None)):
        value = value.tolist()
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise TypeError(f"must be a list of numbers, not {shown(value)}")
    return tuple(as_number(item) for item in value)


def as_named_numbers(value: Any) -> dict[str, float]:
    """Return a mapping of texts to numbers; numbers become texts where they are keys. Raise TypeError for others."""
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a mapping of names to numbers, not {shown(value)}")
    named: dict[str, float] = {}
    for key, number in value.items():
        try:
            if (label := as_label(key)) in named:
                raise TypeError("stands there twice, as a number and as a text")
            named[label] = as_number(number)
        except TypeError as error:
            raise TypeError(f"[{shown(key)}] {error}") from None
    return named


def as_label(value: Any) -> str:
    """Return a text, or a number as text. Raise TypeError for anything else, and for a text that UTF-8 cannot hold."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or value != printable(value):
        raise TypeError(f"must have names that are texts, not {shown(value)}")
    return value


def is_metric_name(name: Any) -> bool:
    """Return whether a name is taken by tables, CSV and MLflow alike."""
    return isinstance(name, str) and len(name) <= _LONGEST_NAME and bool(_NAME.fullmatch(name))


def printable(text: str) -> str:
    """Return a text with escapes for what UTF-8 cannot hold: halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: Any) -> str:
    """Return a value, or what is known of it, short enough for a message."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {tuple(shape)} and dtype {getattr(value, 'dtype', None)}"
    text = printable(quoted(value, _SHOWN))
    return text if isinstance(value, (str, bytes, type(None))) else f"{text} ({type(value).__name__})"
