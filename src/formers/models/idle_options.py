"""Options of a new model that have no effect, since they set what weights start as, and a trained model's are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any

from formers.mixers import Mixer
from formers.models.config import TransformerConfig
from formers.models.weight_names import mixers_by_place, named_by, place_of
from formers.part import Part, default_of, value_text, warn_caller


def idle_options(old: TransformerConfig, new: TransformerConfig, kept: Collection[str]) -> tuple[str, ...]:
    """Return a line for each option that differs from the old one and only sets what weights start as that were kept.

    Args:
        kept: names of the weights and buffers of the new model that come from the old one.
    """
    lines = dict[str, None]()
    for option, axis in new.part_options.items():
        if axis is not Mixer:
            lines |= dict.fromkeys(_of(getattr(old, option), getattr(new, option), kept))
    before = mixers_by_place(old)
    for place, mixer in mixers_by_place(new).items():
        inside = [name for name in kept if place_of(name) == place]
        lines |= dict.fromkeys(_of(before.get(place), mixer, inside))
    return tuple(lines)


def warn_of_idle_options(model: Any, info: Mapping[str, Any], saved: TransformerConfig, folder: object) -> None:
    """Give a UserWarning that names the options without effect of a loaded model: those beside the saved ones.

    Args:
        info: `output_loading_info` of Hugging Face's `from_pretrained`: names of weights that were not loaded.
        saved: the configuration in the folder.
    """
    anew = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
    lines = idle_options(saved, model.config, [name for name in model.state_dict() if name not in anew])
    if lines:
        listed = "\n".join(lines)
        warn_caller(
            f"{folder} is loaded with other options than it was saved with:\n{listed}\n"
            "(fresh is an argument of formers.models.convert_weights, with model and model.config in front of it)"
        )


def mean_the_same(one: Any, other: Any) -> bool:
    """Return whether two values of an option mean the same with the same weights: parts may start them otherwise."""
    if not isinstance(one, Part) or type(one) is not type(other):
        return bool(one == other)
    return all(
        mean_the_same(getattr(one, field.name), getattr(other, field.name))
        for field in fields(one)  # type: ignore[arg-type]
        if field.name not in one.starts
    )


def _of(before: Any, after: Any, kept: Collection[str]) -> Iterator[str]:
    """Yield the lines of a part and of the parts within it."""
    if not isinstance(after, Part) or before == after:
        return
    for option, ends in after.starts.items():
        value, was = getattr(after, option), _value(before, after, option)
        held = [end for end in ends if named_by(end, kept)]
        if value != was and held:
            start, those, them = ("starts", "is", "it") if len(held) == 1 else ("start", "are", "them")
            yield (
                f"no effect: {option}={value_text(value)} of {after.name()} sets what {' and '.join(held)} {start} as, "
                f"and the given model's {those} kept; start {them} anew with fresh={held}"
            )
    for option in vars(after):
        yield from _of(_value(before, after, option), getattr(after, option), kept)


def _value(before: Any, after: Part, option: str) -> Any:
    """Return an option's value before; its default where the part before has no such option."""
    if hasattr(before, option):
        return getattr(before, option)
    return next(default_of(field) for field in fields(after) if field.name == option)  # type: ignore[arg-type]
