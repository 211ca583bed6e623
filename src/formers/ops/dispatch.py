"""Which implementation of an op runs: the one asked for, or with `auto` the fastest that fits, said aloud in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

Result = TypeVar("Result")
log = logging.getLogger("formers.ops")


def pick(op: str, impl: str, forms: Mapping[str, Callable[..., Result]]) -> Callable[..., Result]:
    """The form named `impl`; `auto` takes the first of `forms` and logs it. An unknown name raises `ValueError`."""
    name = next(iter(forms)) if impl == "auto" else impl
    if name not in forms:
        raise ValueError(f"{op} has no impl {impl!r}; available: 'auto', {', '.join(map(repr, forms))}")
    if impl == "auto" and not torch.compiler.is_compiling():  # a log call would break the graph
        log.debug("%s: auto chose impl %r", op, name)
    return forms[name]
