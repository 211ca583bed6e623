"""Parts: frozen descriptions of one choice in a Transformer, which build their own modules."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from inspect import get_annotations
from typing import Any, ClassVar, Self, SupportsIndex, dataclass_transform

from formers.part.annotations import option_hints
from formers.part.json_form import part_from_json, value_json
from formers.part.member import Member, default_of, example_call, option_names
from formers.part.option_docs import docs_in_source
from formers.part.option_types import MISMATCH, accept, describe
from formers.part.quoted import quoted
from formers.part.text import parse_part, value_text
from formers.part.unsupported import Unsupported, check_names
from formers.part.warning import warn_caller

ABILITIES = {
    "causal": "output i depends on tokens up to i only",
    "bidirectional": "every token sees every other",
    "streaming": "carries a state: one pass, chunks and single steps agree",
    "padding": "masked tokens change nothing",
    "qk_position": "applies a position to queries and keys",
    "score_position": "adds a position to the scores",
    "weight_position": "lets a position change how scores become weights, and add to what they sum",
    "cross": "reads another sequence: its queries against that one's keys and values",
    "trim": "its state can forget the last tokens of a row",
    "static": "its state can have a fixed size and place in memory, so that a step of generation is compiled once",
    "global_tokens": "takes, row by row, tokens that see all and are seen by all, in a bidirectional model",
    "export": "torch.export takes it with any batch and length",
    "order_blind": "without a position, permuting the input permutes the output",
    "relative": "with a position that turns queries and keys, only differences of positions count",
}
"""Every ability a part may declare in `Part.can`, and what it promises."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Part(Member):
    """One choice in a Transformer: a frozen, keyword-only dataclass.

    Subclass an axis, add documented fields and `build`.

    Every subclass becomes a frozen dataclass by itself; no decorator is needed. A docstring under a field documents it:

        class Window(Mixer):
            "Softmax attention over the last `width` tokens."
            width: int = 128
            "How many tokens back a token sees, itself included."

    The text form (`str(part)`, `repr(part)`) lists the options that differ from their defaults (where options may be
    given by their order, the first one always, without its name) and parses back to an equal part; the JSON form lists
    every option, so that a saved model does not change when a default does (see `added`).
    """

    can: ClassVar[frozenset[str]] = frozenset()
    """What parts of this class can do, some of them or all: keys of `ABILITIES`. Read `abilities` of a part with its
    options."""
    origin: ClassVar[str] = ""
    "The user's file that a part comes from; see `load_parts`."
    names_its_file: ClassVar[bool] = False
    "Whether the text form of a part from a user's file begins with that file, so that its name may be another's, too."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if unknown := cls.can - ABILITIES.keys():
            raise TypeError(f"{cls.__name__} declares unknown abilities {sorted(unknown)}; known: {sorted(ABILITIES)}")
        _warn_of_untyped_options(cls)
        dataclass(frozen=True, kw_only=not cls.positional, repr=False)(cls)  # type: ignore[call-overload]
        if Part in cls.__bases__:
            cls.axis = cls

    def __new__(cls, *args: object, **options: object) -> Self:
        """Check the names of the options before the dataclass sees them, to suggest the nearest right one."""
        check_names(cls.name(), options, option_names(cls))
        if args and not cls.positional:
            raise TypeError(f"{cls.name()} takes named options only; write {example_call(cls)}")
        if len(args) > len(option_names(cls)):
            raise TypeError(
                f"{cls.name()} takes {len(option_names(cls))} options, but {len(args)} were given; "
                f"write {example_call(cls)}"
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        hints = option_hints(type(self))
        for field in fields(self):  # type: ignore[arg-type]
            value = accept(getattr(self, field.name), hints[field.name])
            if value is MISMATCH:
                given = getattr(self, field.name)
                raise TypeError(
                    f"{self.name()}: option {field.name} must be {describe(hints[field.name])}, "
                    f"but {quoted(given)} ({type(given).__name__}) was given"
                )
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Raise `ValueError` for option values that cannot work. Overridden where there are any."""

    @property
    def abilities(self) -> frozenset[str]:
        """The abilities with these options: `can`, unless a class takes away what some options rule out.

        Errors, laws and commands are made from it.
        """
        return self.can

    def lacks(self, method: str) -> NotImplementedError:
        """Return the error for a method that every part of the axis defines, and this one does not."""
        return NotImplementedError(f"{type(self).__name__} does not define {method}, as every {self.axis.name()} does")

    @classmethod
    def is_own(cls) -> bool:
        """Return whether the class is a user's, and none of this library."""
        return not cls.__module__.startswith("formers.")

    def swap(self, **options: Any) -> Self:
        """Return the same part with some options changed. Raise TypeError for an unknown option."""
        check_names(self.name(), options, option_names(type(self)))
        return replace(self, **options)  # type: ignore[type-var]

    def require(self, *abilities: str, why: str = "", instead: str = "") -> None:
        """Raise `Unsupported` unless the part has every named ability."""
        missing = [ability for ability in abilities if ability not in self.abilities]
        if missing:
            promise = "; ".join(f"{ability}: {ABILITIES[ability]}" for ability in missing)
            raise Unsupported(
                f"{self} cannot be {' or '.join(missing)} ({promise})"
                + (f"; {why}" if why else "")
                + (f". Use {instead} instead" if instead else "")
            )

    def __repr__(self) -> str:
        shown = [f for f in fields(self) if default_of(f) is MISSING or getattr(self, f.name) != default_of(f)]  # type: ignore[arg-type]
        changed = [f"{f.name}={value_text(getattr(self, f.name))}" for f in shown]
        if self.positional and (first := fields(self)[:1]):  # type: ignore[arg-type]
            changed = [value_text(getattr(self, first[0].name)), *changed[first[0] in shown :]]
        return f"{self.name()}({', '.join(changed)})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if not self.origin:
            return super().__reduce_ex__(protocol)
        from formers.part.own_files import unpickled  # imports this module

        options = {name: getattr(self, name) for name in option_names(type(self))}
        return unpickled, (self.origin, type(self).__name__, options)  # another process has not run the file yet

    def to_json(self) -> dict[str, Any]:
        """Return `{"part": name, option: value, …}` with every option, defaults too; see `added` for the exception."""
        data: dict[str, Any] = value_json(self)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the part that `to_json` described. Called on an axis, it finds the member by its name."""
        part: Self = part_from_json(cls, data)
        return part

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the part that a text like `performer(features=256)` means. Literals and names only; nothing is run."""
        part: Self = parse_part(cls, text)
        return part

    @classmethod
    def option_docs(cls) -> dict[str, str]:
        """Return what each option means: the docstrings under the fields, inherited ones too."""
        docs: dict[str, str] = {}
        for kind in reversed(cls.__mro__):
            if issubclass(kind, Part) and kind is not Part:
                docs |= docs_in_source(kind)
        return {name: docs.get(name, "") for name in option_names(cls)}


def _warn_of_untyped_options(kind: type[Part]) -> None:
    """Warn of plain values in a class that a reader takes for options, but that have no type, which options need."""
    typed = {name for base in kind.__mro__ for name in get_annotations(base)}
    for name, value in [*vars(kind).items()]:
        known = name.startswith("_") or name in typed or any(hasattr(base, name) for base in kind.__bases__)
        if not known and name.islower() and isinstance(value, (bool, int, float, str, Part)):
            warn_caller(
                f"{kind.__name__}.{name} = {value!r} has no type, so it is no option; write {name}: "
                f"{type(value).__name__} = {value!r}, or _{name} for a constant"
            )
