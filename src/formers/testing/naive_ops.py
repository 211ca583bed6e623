"""Forcing every op to its naive form, to compare a part with what its formula says."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from formers import ops


def _ops_with_forms() -> dict[str, Callable[..., Any]]:
    """Return name → op, for every op of `formers.ops` that has more than one implementation."""
    found = {name: getattr(ops, name) for name in ops.__all__}
    return {
        name: op for name, op in found.items() if inspect.isfunction(op) and "impl" in inspect.signature(op).parameters
    }


@contextmanager
def naive_ops() -> Iterator[list[str]]:
    """Inside, every op that a part's file has imported runs as its naive form. Yields the names of those that ran.

    Not for threads: the files see the naive forms until the block ends.
    """
    ran: list[str] = []
    forced = {id(op): _naively(name, op, ran) for name, op in _ops_with_forms().items()}
    replaced = [
        (names, name, value) for names in _importers() for name, value in list(names.items()) if id(value) in forced
    ]
    try:
        for names, name, value in replaced:
            names[name] = forced[id(value)]
        yield ran
    finally:
        for names, name, value in replaced:
            names[name] = value


def _importers() -> list[dict[str, Any]]:
    """Return the global names of every loaded module outside `formers.ops`."""
    loaded = list(sys.modules.items())
    return [vars(m) for name, m in loaded if hasattr(m, "__dict__") and not (name + ".").startswith("formers.ops.")]


def _naively(name: str, op: Callable[..., Any], ran: list[str]) -> Callable[..., Any]:
    def naive(*args: Any, **options: Any) -> Any:
        ran.append(name)
        return op(*args, **options | {"impl": "naive"})

    return naive
