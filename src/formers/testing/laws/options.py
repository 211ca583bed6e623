"""Law 7: nothing changes silently.

Every option reaches the module and survives the text and JSON forms; an option that does not exist raises.

Inputs: every option of the part, with values made from its type. What is compared are parameters, calls, outputs at
near and far positions and, of a mixer, with each kind of position, the state, initial weights, and what two training
steps keep for their backward pass, add to the loss and leave behind. A value that raises proves nothing: other options
are changed until two values of the option can be compared.

Exempt: values of numbers that coincide, as a window beyond the sequence, and `auto`, which chooses among the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import combinations, product
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor, nn

from formers.memory import Memory
from formers.mixers import Mixer
from formers.part import Part, Site, alternatives, collect_losses, option_hints
from formers.positions import Position, RelationalPosition
from formers.testing.harness import LENGTH, SITE, build, directions, output_with_memory, seed_cpu, tokens
from formers.testing.sites import POSITIONED, places_of


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
    """Changing any one option changes the module, its state or its output.

    Where values are told apart by name (bool, word, part), each must do something of its own; `auto` chooses among
    them. Of numbers some may coincide: as many key heads as heads, or a window beyond the sequence. A value that raises
    shows nothing of what the option does: where all do, the other options are changed until two values can be compared.
    """
    prints: dict[Part, str] = {}
    site = replace(site, layers=2)

    def show(one: Part) -> str:
        if one not in prints:
            prints[one] = _fingerprint(one, site)
        return prints[one]

    for field in fields(part):  # type: ignore[arg-type]
        assert values_beside(part, field.name), f"{part}: no law knows another value for option {field.name}"
        base, *others = _comparable(part, field.name, show)
        silent = [other for other in others if show(other) == show(base)]
        allowed = 0 if has_named_values(base, field.name) else len(others) - 1
        assert len(silent) <= allowed, (
            f"{part}: {field.name} does nothing: {silent[0]} and {base} are the same, with the same state and output"
        )


def _comparable(part: Part, name: str, show: Callable[[Part], str]) -> list[Part]:
    """Return the part with each value of one option that can be built, at least two, its own value first.

    As few other options are changed as need be, at most two. Of numbers, no more are returned than show a difference.
    Raise AssertionError where no two values can be compared.
    """
    values = [getattr(part, name), *values_beside(part, name)]
    for others in _changes(part, name):
        written = [one for value in values if (one := _swapped(part, others | {name: value})) is not None]
        buildable: list[Part] = []
        for one in written if len(written) > 1 else ():
            if show(one):
                buildable.append(one)
            if len(buildable) > 1 and show(one) != show(buildable[0]) and not has_named_values(buildable[0], name):
                break
        if len(buildable) > 1:
            return buildable
    raise AssertionError(f"{part}: no two values of {name} can be compared, whatever the other options are: all raise")


def _changes(part: Part, but: str) -> Iterator[dict[str, Any]]:
    """Yield no change, then each of one other option, then each of two."""
    names = [field.name for field in fields(part) if field.name != but]  # type: ignore[arg-type]
    for count in range(3):
        for chosen in combinations(names, count):
            for values in product(*(values_beside(part, name) for name in chosen)):
                yield dict(zip(chosen, values, strict=True))


def _swapped(part: Part, options: dict[str, Any]) -> Part | None:
    """Return the part with some options changed, or None where that raises."""
    try:
        return part.swap(**options)
    except (TypeError, ValueError):
        return None


def has_named_values(part: Part, name: str) -> bool:
    """Return whether the option's values are told apart by name, so that each of them must do something of its own."""
    value = getattr(part, name)
    return isinstance(value, (bool, str, Part)) and value != "auto"


def values_beside(part: Part, name: str) -> list[Any]:
    """Return other values of the option, made from its type."""
    now = getattr(part, name)
    found: list[Any] = []
    for hint in alternatives(option_hints(type(part))[name]):
        found += _values_of(hint, now)
    return [value for i, value in enumerate(found) if value != now and value not in found[:i]]


def _values_of(hint: Any, now: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) is tuple:
        inner, first = get_args(hint)[0], now[0] if isinstance(now, tuple) and now else None
        return [(value,) for value in _values_of(inner, first)] + ([] if first is None else [()])
    if hint is bool:
        return [True, False]
    if hint is int:
        return [now + 1, now + 2, 2 * now, now // 2, 1] if isinstance(now, int) else [0, 1, 2, 3, 64, 4096]
    if hint is type(None):
        return [None]
    if hint is float:
        level = now if isinstance(now, float) else 1.0
        return [2 * level, level / 2, level + 0.25, 0.5]
    if isinstance(hint, type) and issubclass(hint, Part):
        return [kind() for kind in hint.kinds()]
    return []


def _fingerprint(part: Part, site: Site) -> str:
    """Return a hash of all that the part's module shows; empty where it cannot be built or run here."""
    try:
        layers = [site.at(layer) for layer in range(site.layers)]
        return " ".join(_shown(part, causal, at) for causal in directions(part) for at in layers)
    except (TypeError, ValueError):
        return ""


@torch.no_grad()
def _shown(part: Part, causal: bool, site: Site) -> str:
    """Return a hash of parameters, calls in turn, outputs at near and far positions and with each kind of position,
    state, what training leaves, initial weights."""
    module = build(part, causal=causal, site=site)
    digest = hashlib.sha256()
    x = tokens(width=site.width)
    near = torch.arange(LENGTH).unsqueeze(0)
    for name, tensor in module.state_dict().items():
        add_to(digest, name, tensor)
    calls, (y, state) = _watched(module, x)
    digest.update(" ".join(calls).encode())
    add_to(digest, "output", y)
    add_to(digest, "bytes", torch.tensor(0 if state is None else state.nbytes))
    add_to(digest, "far", attempt(lambda: module(x, positions_bl=near + site.context_length)[0]))
    if isinstance(part, Memory):
        add_to(digest, "memory", output_with_memory(part, module, x))
    if isinstance(part, Position):
        add_to(digest, "position", _alone(part, site, x, near))
    for place in places_of(part) if isinstance(part, Mixer) else ():
        add_to(digest, place, attempt(partial(_output_at, part, causal, POSITIONED[place])))
    add_to(digest, "losses", train(module, x))
    for name, tensor in module.state_dict().items():
        add_to(digest, name, tensor)
    seed_cpu(0)
    for owner in module.modules():
        if callable(start := getattr(owner, "init_weights", None)):
            start(0.02)
    for name, tensor in module.state_dict().items():
        add_to(digest, name, tensor)
    return digest.hexdigest()


def _output_at(part: Part, causal: bool, site: Site) -> Tensor:
    y: Tensor = build(part, causal=causal, site=site)(tokens(width=site.width))[0]
    return y


def train(module: nn.Module, x: Tensor) -> Tensor:
    """Run two training steps, after which what follows the data or counts them has moved; weights stay.

    Return the losses that parts added, one a step, and how many numbers are kept for the backward pass.
    """
    module.train()
    added, kept = [], 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    optimiser = torch.optim.SGD([*module.parameters(), nn.Parameter(torch.zeros(()))], lr=0.0)
    with torch.enable_grad():
        for seed in range(2):
            seed_cpu(seed)
            with collect_losses() as losses:
                with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                    y = module(x.clone().requires_grad_())[0]
                y.square().sum().backward()
            added.append(torch.zeros(()) if (total := losses.total()) is None else total.detach())
            optimiser.step()
    module.eval()
    return torch.stack([*added, torch.tensor(kept)])


def _watched(module: nn.Module, x: Tensor) -> tuple[list[str], Any]:
    """Return the names of the submodules in the order in which they are called, and the result."""
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
    """Return what the position does by itself: a rotary offset, for one, cancels in the scores."""
    module: nn.Module = part.build(site)
    if part.acts_on == "heads":
        return module(x_bld.unflatten(-1, (site.heads, -1)).transpose(1, 2), positions_bl)
    if part.acts_on in ("scores", "weights"):
        return _on_pairs(module, x_bld.unflatten(-1, (site.heads, -1)).transpose(1, 2), positions_bl)
    return module(x_bld[..., : part.embedding_width(site)], positions_bl)


def _on_pairs(module: nn.Module, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
    """Return what a position on scores or weights makes of all pairs of these tokens."""
    if not isinstance(module, RelationalPosition):
        return module(positions_bl, positions_bl)
    relation, scores_bhll = module(positions_bl, positions_bl), x_bhlk @ x_bhlk.mT * x_bhlk.shape[3] ** -0.5
    w_bhll = relation.scores(scores_bhll, x_bhlk, x_bhlk, 0).softmax(-1)
    more = relation.outputs(w_bhll, 0)
    return w_bhll @ x_bhlk if more is None else w_bhll @ x_bhlk + more


def attempt(call: Callable[[], Tensor]) -> Tensor:
    """Return what the call gives, or nothing where it raises ValueError."""
    try:
        return call()
    except ValueError:
        return torch.zeros(0)


def add_to(digest: Any, name: str, tensor: Tensor) -> None:
    """Add a tensor's name, shape, dtype and numbers to a hash."""
    digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
    digest.update(tensor.detach().contiguous().numpy().tobytes())
