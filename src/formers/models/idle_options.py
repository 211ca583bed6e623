"""Options of a new model that have no effect, since they set what weights start as, and a trained model's are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import Any

from formers.models.config import TransformerConfig
from formers.part import Part, default_of, value_text


def idle_options(old: TransformerConfig, new: TransformerConfig, kept: Collection[str]) -> tuple[str, ...]:
    """Return a line for each option that differs from the old one and only sets what weights start as that were kept.

    Args:
        kept: names of the weights and buffers of the new model that come from the old one.
    """
    lines = dict[str, None]()
    for axis in new.part_options:
        before, after = getattr(old, axis), getattr(new, axis)
        if axis != "mixer":
            lines |= dict.fromkeys(_of(before, after, kept))
            continue
        for layer in range(new.depth):
            inside = [name for name in kept if f"layers.{layer}.mixer." in name]
            lines |= dict.fromkeys(_of(old.mixer_at(layer), new.mixer_at(layer), inside))
    return tuple(lines)


def _of(before: Any, after: Any, kept: Collection[str]) -> Iterator[str]:
    """Yield the lines of a part and of the parts within it."""
    if not isinstance(after, Part) or before == after:
        return
    for option, ends in after.starts.items():
        value, was = getattr(after, option), _value(before, after, option)
        held = [end for end in ends if any(f".{name}".endswith(f".{end}") for name in kept)]
        if value != was and held:
            yield (
                f"no effect: {option}={value_text(value)} of {after.name()} sets what {' and '.join(held)} starts as, "
                f"and the given model's is kept; start it anew with fresh={held}"
            )
    for option in vars(after):
        yield from _of(_value(before, after, option), getattr(after, option), kept)


def _value(before: Any, after: Part, option: str) -> Any:
    """Return an option's value before; its default where the part before has no such option."""
    if hasattr(before, option):
        return getattr(before, option)
    return next(default_of(field) for field in fields(after) if field.name == option)  # type: ignore[arg-type]
