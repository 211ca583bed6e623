"""Forcing every op to its naive form, to compare a part with what its formula says."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from formers import ops


def _ops_with_forms() -> dict[str, Callable[..., Any]]:
    """Return name → op, for every op of `formers.ops` that has more than one implementation."""
    found = {name: getattr(ops, name) for name in ops.__all__}
    return {name: op for name, op in found.items() if _has_forms(op)}


@cache
def _has_forms(op: Any) -> bool:
    return inspect.isfunction(op) and "impl" in inspect.signature(op).parameters


class Import(NamedTuple):
    """A name by which a module outside `formers.ops` knows an op: `names[name]`."""

    names: dict[str, Any]
    name: str


def imports_of_ops() -> list[Import]:
    """Return every global name of an op with forms, in all loaded modules outside `formers.ops`.

    There are thousands of modules and 100,000 names: this takes some 20 ms, more than the forms of an op do.
    """
    ops = frozenset(map(id, _ops_with_forms().values()))
    loaded = list(sys.modules.items())
    files = [vars(m) for name, m in loaded if hasattr(m, "__dict__") and not (name + ".").startswith("formers.ops.")]
    with_ops = [names for names in files if not ops.isdisjoint(map(id, list(names.values())))]
    return [Import(names, name) for names in with_ops for name, value in list(names.items()) if id(value) in ops]


@contextmanager
def naive_ops(imports: Sequence[Import] | None = None) -> Iterator[list[str]]:
    """Inside, every op that a part's file has imported runs as its naive form. Yields the names of those that ran.

    Not for threads: the files see the naive forms until the block ends.

    Args:
        imports: what `imports_of_ops()` gave, for who enters many times; looked up unless given. A module that was
            loaded since is not among them.
    """
    ran: list[str] = []
    forced = {id(op): _naively(name, op, ran) for name, op in _ops_with_forms().items()}
    known = imports_of_ops() if imports is None else imports
    replaced = [(names, name, value) for names, name in known if id(value := names.get(name)) in forced]
    try:
        for names, name, value in replaced:
            names[name] = forced[id(value)]
        yield ran
    finally:
        for names, name, value in replaced:
            names[name] = value


def _naively(name: str, op: Callable[..., Any], ran: list[str]) -> Callable[..., Any]:
    def naive(*args: Any, **options: Any) -> Any:
        ran.append(name)
        return op(*args, **options | {"impl": "naive"})

    return naive
