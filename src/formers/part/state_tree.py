"""States as trees of plain values and tensors, which files can hold, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from torch import Tensor

from formers.part.state import State

_STATE, _FIELDS = "state", "fields"


def state_tree(value: Any) -> Any:
    """Return a state as dictionaries, lists, names and tensors: what `state_from_tree` makes an equal state of.

    Tensors are copies: two of them share no storage. What is no field of the state's values is left out.
    """
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, State):
        apart = value.map(Tensor.detach)  # from storage that it shares with others
        kept = {f.name: state_tree(getattr(apart, f.name)) for f in fields(value) if f.compare}
        return {_STATE: type(value).__name__, _FIELDS: kept}
    return [state_tree(item) for item in value] if isinstance(value, tuple) else value


def state_from_tree(tree: Any, device: Any = None) -> State:
    """Return the state that `state_tree` described, on a device. Raise ValueError for what is none."""
    name = tree.get(_STATE) if isinstance(tree, dict) else None
    kind = _kinds().get(name) if isinstance(name, str) else None
    if kind is None or set(tree[_FIELDS]) - {f.name for f in fields(kind)}:
        raise ValueError(f"a state was expected, but {name!r} is none that this version has; start without it")
    hints = get_type_hints(kind)
    return kind(**{key: _value(item, hints[key], device) for key, item in tree[_FIELDS].items()})


def _value(tree: Any, hint: Any, device: Any) -> Any:
    """Return what a tree describes; a list as the tuple that the hint of its place names."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return state_from_tree(tree, device)
    if not isinstance(tree, (list, tuple)):
        return tree
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0] if get_args(hint)[1:] == (...,) else None
        return tuple(_value(item, inner, device) for item in tree)
    named = next((one for one in (hint, *get_args(hint)) if hasattr(one, "_fields")), None)
    items = [_value(item, None, device) for item in tree]
    return named(*items) if named is not None else tuple(items)


def _kinds() -> dict[str, type[State]]:
    """Return every type of state that has been imported, by its name."""
    found, waiting = dict[str, type[State]](), [State]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return found
