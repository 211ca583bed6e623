"""Choices as text, `mixer=performer(features=128), position=alibi, depth=2`, and the values they mean."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from formers.lab.study.alternatives import Alternatives
from formers.part import Part, Unsupported, parse_value, quoted
from formers.part.quoted import LONGEST
from formers.part.tokens import tokens

if TYPE_CHECKING:
    from formers.models import TransformerConfig

_OPENING = {"(": ")", "[": "]", "{": "}"}
OF_TASK = "task."
"""The beginning of a choice that is an option of the task, as in `task.top=0.1`."""


def parse_choices(text: str) -> dict[str, Any]:
    """Return name → value for a text such as `mixer=dense, depth=2`; nothing for an empty one.

    Raises:
        ValueError: for a text that cannot be read, a repeated name, a part that does not exist, and a value that the
            configuration does not take.
        TypeError: for a name that the configuration does not have, and an option that a part does not have.
    """
    choices: dict[str, Any] = {}
    for piece in split_top_level(text) if text.strip() else []:
        name, value = _split_assignment(piece)
        if name in choices:
            raise ValueError(f"{quoted(text)} chooses {name} twice")
        choices[name] = parse_choice(name, value)
    return choices


def parse_choice(name: str, value: Any) -> Any:
    """Return a value as the configuration takes it: a part from text or JSON, a number or word from text.

    `{softmax, linear}` and `Alternatives` are values of which an arm takes the best.

    Raise as a configuration does that is given it, for a name it does not have and for a value out of an option's type
    or range; a value that would have no effect is left to the arm that is `Unsupported` by it. An option of the task is
    read as far as text goes: its type is known to the study.
    """
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return Alternatives(tuple(parse_choice(name, piece) for piece in split_top_level(value[1:-1])))
    if isinstance(value, Alternatives):
        return Alternatives(tuple(parse_choice(name, item) for item in value.values))
    if name.startswith(OF_TASK):
        return parse_value(object, value) if isinstance(value, str) else value
    read = [_from_text(name, item) for item in value] if isinstance(value, (list, tuple)) else _from_text(name, value)
    with suppress(Unsupported):
        checked = _config_kind(name)().swap(**{name: read})
        read = getattr(checked, name)
    return tuple(read) if isinstance(read, list) else read


def _config_kind(name: str) -> type[TransformerConfig]:
    """Return the kind of configuration that has an option: the usual one, unless only another has it."""
    from formers.models import TransformerConfig  # takes seconds; splitting text does not need it

    kinds = [kind for kind in TransformerConfig.__subclasses__() if name in kind.own_names()]
    return kinds[0] if kinds and name not in TransformerConfig.own_names() else TransformerConfig


def _from_text(name: str, value: Any) -> Any:
    """Return what a text means as a choice; anything else as it is."""
    from formers.models.options import option_type
    from formers.norms import NORM_OPTIONS

    if not isinstance(value, str):
        return value
    if name in NORM_OPTIONS and value == "None":
        return None
    if (axis := _config_kind(name).part_options.get(name)) is None:
        return parse_value(option_type(name), value)
    is_list = value.startswith("[") and value.endswith("]")
    return [axis.parse(item) for item in split_top_level(value[1:-1])] if is_list else axis.parse(value)


def parse_alternatives(text: str) -> tuple[str, list[str]]:
    """Return the axis and the texts of its alternatives in `mixer=softmax,linear`. Raise ValueError for other texts."""
    name, values = _split_assignment(text)
    return name, split_top_level(values)


def choices_text(choices: Mapping[str, Any]) -> str:
    """Return choices as text that `parse_choices` reads back."""
    return ", ".join(f"{name}={choice_text(value)}" for name, value in choices.items())


def choice_text(value: Any) -> str:
    """Return a choice as short text that parses back to it: `softmax`, `performer(features=128)`, `[softmax, pool]`."""
    if isinstance(value, Alternatives):
        return "{" + ", ".join(map(choice_text, value.values)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(choice_text, value)) + "]"
    return repr(value).removesuffix("()") if isinstance(value, Part) else repr(value)


def split_top_level(text: str, separator: str = ",") -> list[str]:
    """Return the pieces between separators that are neither inside brackets nor inside quotes.

    Raise ValueError for an empty piece, and for a bracket or quote that is left open.
    """
    cuts, closing = [-1], list[str]()
    for token in tokens(text):
        if token.text in _OPENING:
            closing.append(_OPENING[token.text])
        elif token.kind == "open" or (token.text in _OPENING.values() and (not closing or closing.pop() != token.text)):
            raise ValueError(
                f"cannot read {quoted(text)}: {token.text[:1]!r} at character {token.start + 1} has no pair"
            )
        elif token.text == separator and not closing:
            cuts.append(token.start)
    if closing:
        raise ValueError(f"cannot read {quoted(text)}: a bracket is left open; {closing[-1]!r} is missing")
    pieces = [text[start + 1 : end].strip() for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]
    if not all(pieces):
        raise ValueError(f"cannot read {quoted(text)}: nothing stands beside one of its {separator!r}")
    return pieces


def _assignment_like(text: str) -> str:
    """Return how to write a choice: the part that a text names with its axis before it, else an example."""
    from formers.catalogue import AXES  # loads every part

    name = text.partition("(")[0].partition(",")[0].strip()
    axes = [axis for axis, kind in AXES.items() if axis != "feature" and name in [part.name() for part in kind.kinds()]]
    return f"{axes[0]}={text.strip()}" if axes and len(text) <= LONGEST else "mixer=softmax or depth=4"


def _split_assignment(text: str) -> tuple[str, str]:
    """Return the name and the value of `mixer=softmax`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().removeprefix(OF_TASK).isidentifier() or not value.strip():
        raise ValueError(f"cannot read {quoted(text)}; write name=value, as in {_assignment_like(text)}")
    return name.strip(), value.strip()
