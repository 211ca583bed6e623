"""Law 7: no option is idle.

An option that cannot have an effect where a part is built raises there: it is not taken and left unused.

Inputs: every option of the part and of the parts in it, each with other values made from its type, beside the part's
own options and beside each other one switched; a site with one head and one with several, without a position and with
one in each place; numbers beyond all that the model has, and lists longer than what takes their numbers in turn. What
is compared are all layers' outputs at near and far positions, states, initial weights, and what training leaves.

Exempt: numbers that say how far or how large, which may reach beyond the sequence; values that say the same as the
default at a site, as one key head of one head; and how a position is applied, where there is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from formers.memory import Memory
from formers.part import Part, Site, alternatives
from formers.patterns import Pattern, Window
from formers.positions import Alibi, Cosine, Position, Rotary
from formers.testing.harness import LENGTH, SITE, build, directions, mixes_nothing, output_with_memory, seed_cpu, tokens
from formers.testing.laws.options import add_to, attempt, has_named_values, train, values_beside
from formers.testing.sites import places_of

_SITES = {
    "nothing": replace(SITE, layers=2),
    "one head": Site(width=16, heads=1, causal=False, context_length=128, layers=2),
    "narrow heads": Site(width=8, heads=4, causal=False, context_length=128),
    "layer": Site(width=30, heads=5, causal=False, context_length=128, layers=2, position=Cosine()),
    "heads": Site(width=24, heads=2, causal=False, context_length=128, layers=2, position=Rotary()),
    "scores": Site(width=24, heads=3, causal=False, context_length=128, layers=2, position=Alibi()),
}
"""Sites by what is special about them."""
_SIZES = frozenset(
    {"window", "width", "height", "radius", "block", "chunk", "stride", "length", "trained_length", "memory_width"}
    | {"size", "k"}
    | {"behind", "ahead", "halo", "dilation", "shift", "offset", "reach", "clip", "clamp", "segment", "expand"}
    | {"compressed", "rate", "span", "ramp"}
    | {"features", "random", "blocks", "chunks", "redraw", "base", "factor", "sigma", "scale"}
)
"""Options that say how far, how large or how long, and may exceed what there is."""
_SAY_THE_SAME = {"one head": frozenset({"kv_heads", "per_head", "share", "local_heads"})}
"""Options whose values mean the same at a site: one key head for one head, frequencies of one head's width."""
_LIMITS = frozenset({"height"})
"""Options that say up to which length a model is for, and have no other effect."""
_METHODS = frozenset({"search"})
"""Options that say how something is found, and may well find the same."""
_OF_A_POSITION = {"turned": frozenset({"heads"}), "restart": frozenset({"layer", "heads"})}
"""Options that say how a position is applied → the places it must act on. They say nothing of others, as in an ablation
of positions."""
_UNITS = frozenset({"stride", "block", "size"})
"""Options that as 1 leave nothing to tell apart: columns that are all tokens, blocks of one token in any order, a
memory of one token."""
Path = tuple[str, ...]
"""The names that lead to an option: of a part's own, or of a part in it."""


def no_option_is_idle(part: Part, site: Site = SITE) -> None:
    """A value of an option that changes nothing at a site raises there, whichever one other option is switched."""
    places = {"nothing", "one head", *places_of(part), *(["narrow heads"] if isinstance(part, Position) else [])}
    for name in [name for name in _SITES if name in places]:
        _assert_none_idle(part, name)
    for path in _paths(part):
        for value in _switched(part, path):
            changed = _with(part, path, value)
            if changed is not None:
                _assert_none_idle(changed, "nothing", but=path)
    _assert_lists_are_used(part)


def _assert_none_idle(part: Part, name: str, but: Path = ()) -> None:
    """Assert that each option whose other values build does something at the site of this name."""
    for causal in _told_apart(part):
        site = _SITES[name]
        for path in _paths(part) if _builds(part, causal, site) else ():
            owner, option = _owner(part, path)
            if name not in _OF_A_POSITION.get(option, _SITES):
                continue
            if (
                path == but
                or option in _LIMITS | _METHODS | _SAY_THE_SAME.get(name, frozenset())
                or _is_changed(owner, option)
            ):
                continue
            named, silent, built = has_named_values(owner, option), [], 0
            for value in _values(owner, option):
                one = _with(part, path, value)
                if one is None or not _builds(one, causal, site):
                    continue
                built += 1
                if _same(one, part, causal, site):
                    silent.append(value)
                elif not named:
                    break  # one number that does something is enough
            if option in _SIZES and built < 2:
                continue
            assert len(silent) <= (0 if named else max(built - 1, 0)), (
                f"{part}, {'causal' if causal else 'bidirectional'}, at the site of {name}: {'.'.join(path)}="
                f"{silent[0]} is taken and does nothing"
            )


def _told_apart(part: Part) -> list[bool]:
    """Return the directions that may use an option differently: one of them where tokens are looked at alone."""
    return directions(part)[:1] if mixes_nothing(part) else directions(part)


def _assert_lists_are_used(part: Part) -> None:
    """Assert that the last of a list, and a number beyond all that there is, does something or raises."""
    few = replace(_SITES["nothing"], context_length=LENGTH)
    for path in _paths(part):
        owner, option = _owner(part, path)
        for longer, shorter in _lists(owner, option) + _beyond(owner, option):
            ones = [_with(part, path, value) for value in (longer, shorter)]
            for causal in _told_apart(part):
                shown = {_run(one, causal, few.at(0)) for one in ones if one is not None}
                if len(shown) > 1:
                    continue  # they differ in the first layer, or one raises: the other layers change nothing in that
                built = [one for one in ones if one is not None and _builds(one, causal, few)]
                used = len(built) < 2 or not _same(built[0], built[1], causal, few)
                assert used, (
                    f"{part}: {'.'.join(path)}={longer} does the same as {shorter}, so something of it is never used"
                )


def _lists(owner: Part, option: str) -> list[tuple[Any, Any]]:
    """Return lists of more elements than there are heads or layers, each with the same list without the last."""
    hints = [hint for hint in alternatives(get_type_hints(type(owner))[option]) if get_origin(hint) is tuple]
    pairs: list[tuple[Any, Any]] = []
    for inner in (get_args(hint)[0] for hint in hints):
        if inner is int:
            elements: list[Any] = [1, 2, 3, 4, 5]
        elif inner is Pattern:
            elements = [Window(width) for width in (1, 2, 3, 4, 5)]
        else:
            continue
        pairs += [(tuple(elements[:count]), tuple(elements[: count - 1])) for count in (2, 3, 4, 5)]
        if inner is int:
            pairs.append(((0, LENGTH), (0,)))
    return pairs


def _beyond(owner: Part, option: str) -> list[tuple[Any, Any]]:
    """Return numbers beyond all that a model has, each with a larger one; none for sizes."""
    hints = alternatives(get_type_hints(type(owner))[option])
    return [(LENGTH + 2, LENGTH + 1)] if int in hints and option not in _SIZES else []


def _values(owner: Part, option: str) -> list[Any]:
    """Return other values of an option, those that are parts excepted: these have options of their own."""
    values = [value for value in values_beside(owner, option) if not isinstance(value, (Part, tuple))]
    return [value for value in values if not isinstance(value, int) or value <= LENGTH]


def _switched(part: Part, path: Path) -> list[Any]:
    """Return values that switch something: words, truths, none and one, and counts that may be of all heads."""
    owner, option = _owner(part, path)
    least = () if option in _UNITS else (0, 1) if option in _SIZES else (0, 1, 2, 3)
    values = [value for value in [*_values(owner, option), 0] if not isinstance(value, float)]
    return [value for value in values if isinstance(value, bool | str) or value is None or value in least]


def _is_changed(owner: Part, option: str) -> bool:
    return bool(getattr(owner, option) != getattr(type(owner)(), option))


def _paths(part: Part) -> Iterator[Path]:
    """Yield the paths of all options."""
    for field in fields(part):  # type: ignore[arg-type]
        yield (field.name,)
        value = getattr(part, field.name)
        if isinstance(value, Part):
            yield from ((field.name, *path) for path in _paths(value))


def _owner(part: Any, path: Path) -> tuple[Part, str]:
    for name in path[:-1]:
        part = getattr(part, name)
    return part, path[-1]


def _with(part: Part, path: Path, value: Any) -> Part | None:
    """Return the part with an option changed, or None where that raises."""
    first, *rest = path
    try:
        inner = _with(getattr(part, first), tuple(rest), value) if rest else value
        return None if rest and inner is None else part.swap(**{first: inner})
    except (TypeError, ValueError):
        return None


def _same(one: Part, other: Part, causal: bool, site: Site) -> bool:
    """Return whether nothing tells two parts apart in any layer of a model."""
    layers = [site.at(layer) for layer in range(site.layers)]
    return all(look(one, causal, at) == look(other, causal, at) for look in (_run, _change) for at in layers)


def _builds(part: Part, causal: bool, site: Site) -> bool:
    return all(_run(part, causal, site.at(layer)) for layer in range(site.layers))


@lru_cache(maxsize=4096)
@torch.no_grad()
def _run(part: Part, causal: bool, site: Site) -> str:
    """Return a hash of what the module has and gives; empty where it cannot be built or run here."""
    try:
        module = build(part, causal=causal, site=site)
        x = tokens(1, width=site.width)
        y, state = module(x)
        y = torch.cat([y, output_with_memory(part, module, x)]) if isinstance(part, Memory) else y
    except (TypeError, ValueError):
        return ""
    return _hash(y, torch.tensor(0 if state is None else state.nbytes), *module.state_dict().values())


@lru_cache(maxsize=4096)
@torch.no_grad()
def _change(part: Part, causal: bool, site: Site) -> str:
    """Return a hash of what the module gives far away, what training leaves, and how it starts."""
    module, x = build(part, causal=causal, site=site), tokens(1, width=site.width)
    far = torch.arange(LENGTH).unsqueeze(0) + site.context_length
    shown = [attempt(lambda: module(x, positions_bl=far)[0])]
    shown.append(train(module, x))
    shown += [value.clone() for value in module.state_dict().values()]
    seed_cpu(0)
    for owner in module.modules():
        if callable(start := getattr(owner, "init_weights", None)):
            start(0.02)
    return _hash(*shown, *module.state_dict().values())


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        add_to(digest, "", tensor)
    return digest.hexdigest()
