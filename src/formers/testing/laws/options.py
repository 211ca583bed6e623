"""Law 7: nothing changes in silence. A part is what its text and JSON say, and every option reaches the module."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from formers.part import Part, Site, alternatives
from formers.positions import Position
from formers.testing.harness import LENGTH, SITE, build, directions, tokens


def survives_text_and_json(part: Part, site: Site = SITE) -> None:
    """Text and JSON read back to an equal part, and an option that does not exist raises."""
    read = {"text": part.axis.parse(str(part)), "JSON": part.axis.from_json(json.loads(json.dumps(part.to_json())))}
    for form, again in read.items():
        assert again == part, f"{part} came back from {form} as {again}"
        assert hash(again) == hash(part), f"{part} came back from {form} with another hash"
    try:
        part.swap(no_such_option=1)
    except TypeError:
        return
    raise AssertionError(f"{part} took no_such_option=1 without a word")


def every_option_counts(part: Part, site: Site = SITE) -> None:
    """Changing any one option changes the module, its state or its output, or raises.

    Where values are told apart by name (bool, word, part), each must do something of its own; `auto` chooses among them.
    Of numbers some may coincide: as many key heads as heads, or a window beyond the sequence.
    """
    here = _fingerprint(lambda: part, site)
    for field in fields(part):  # type: ignore[arg-type]
        others = values_beside(part, field.name)
        assert others, f"{part}: no law knows another value for option {field.name}"
        prints = {str(value): _fingerprint(_swapped(part, {field.name: value}), site) for value in others}
        silent = [value for value, found in prints.items() if found == here]
        assert len(silent) < (1 if _is_choice(part, field.name) else len(prints)), (
            f"{part}: {field.name}={silent[0]} changes neither the module nor its state nor its output, and does not raise"
        )


def _swapped(part: Part, options: dict[str, Any]) -> Callable[[], Part]:
    return lambda: part.swap(**options)


def _is_choice(part: Part, name: str) -> bool:
    """Whether the option's values are told apart by name, so that each of them must do something of its own."""
    value = getattr(part, name)
    return isinstance(value, (bool, str, Part)) and value != "auto"


def values_beside(part: Part, name: str) -> list[Any]:
    """Other values of the option, made from its type."""
    now = getattr(part, name)
    found: list[Any] = []
    for hint in alternatives(get_type_hints(type(part))[name]):
        found += _values_of(hint, now)
    return [value for i, value in enumerate(found) if value != now and value not in found[:i]]


def _values_of(hint: Any, now: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return [(value,) for value in _values_of(inner, now[0] if now else None)]
    if hint is bool:
        return [True, False]
    if hint is int:
        start = now if isinstance(now, int) else 1
        return [start + 1, start + 2, 2 * start, start // 2, 1]
    if hint is float:
        level = now if isinstance(now, float) else 1.0
        return [2 * level, level / 2, level + 0.25, 0.5]
    if isinstance(hint, type) and issubclass(hint, Part):
        return [kind() for kind in hint.kinds()]
    return []


def _fingerprint(make: Callable[[], Part], site: Site) -> str:
    """A hash of all that the part's module shows, or the error that its options raise."""
    try:
        part = make()
        prints = [_shown(part, causal, site) for causal in directions(part)]
    except (TypeError, ValueError) as error:
        return f"raises {type(error).__name__}: {error}"
    return " ".join(prints)


@torch.no_grad()
def _shown(part: Part, causal: bool, site: Site) -> str:
    """A hash of parameters, of what is called in turn, outputs at near and far positions, state, and initial weights."""
    module = build(part, causal=causal, site=site)
    digest = hashlib.sha256()
    x = tokens(width=site.width)
    near = torch.arange(LENGTH).unsqueeze(0)
    for name, tensor in module.state_dict().items():
        add(digest, name, tensor)
    calls, (y, state) = _watched(module, x)
    digest.update(" ".join(calls).encode())
    add(digest, "output", y)
    add(digest, "bytes", torch.tensor(0 if state is None else state.nbytes))
    add(digest, "far", _attempt(lambda: module(x, positions_bl=near + site.context_length)[0]))
    if isinstance(part, Position):
        add(digest, "position", _alone(part, site, x, near))
    torch.manual_seed(0)
    for owner in module.modules():
        if callable(start := getattr(owner, "init_weights", None)):
            start(0.02)
    for name, tensor in module.state_dict().items():
        add(digest, name, tensor)
    return digest.hexdigest()


def _watched(module: nn.Module, x: Tensor) -> tuple[list[str], Any]:
    """The names of the submodules in the order in which they are called, and the result."""
    calls: list[str] = []
    hooks = [
        child.register_forward_hook(lambda *_, name=name: calls.append(name)) for name, child in module.named_modules()
    ]
    try:
        return calls, module(x)
    finally:
        for hook in hooks:
            hook.remove()


def _alone(part: Position, site: Site, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """What the position does by itself: a rotary offset, for one, cancels in the scores."""
    module: nn.Module = part.build(site)
    if part.acts_on == "heads":
        return module(x_bld.unflatten(-1, (site.heads, -1)).transpose(1, 2), positions_bl)
    if part.acts_on == "scores":
        return module(positions_bl, positions_bl)
    return module(x_bld[..., : part.embedding_width(site)], positions_bl)


def _attempt(call: Callable[[], Tensor]) -> Tensor:
    try:
        return call()
    except ValueError:
        return torch.zeros(0)


def add(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
    digest.update(tensor.detach().contiguous().numpy().tobytes())
