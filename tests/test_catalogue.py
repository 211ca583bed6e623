"""The catalogue is whole: everything that can be built is in it, once, under its axis."""

from __future__ import annotations

import pytest

import formers
from formers.catalogue import AXES, CATALOGUE, members
from formers.part import Part, option_hints
from formers.part.option_types import MISMATCH, accept
from formers.testing.harness import build, directions

NUMBERS = [
    (kind, option, value)
    for kind in CATALOGUE
    for option, hint in option_hints(kind).items()
    for value in (-1, 0)
    if accept(value, hint) is not MISMATCH
]
"""Each option that takes numbers, with the ones that most counts and scales cannot be."""


@pytest.mark.parametrize(("kind", "option", "value"), NUMBERS, ids=lambda one: getattr(one, "__name__", str(one)))
def test_numbers_that_cannot_be_are_refused_where_they_are_written(kind: type[Part], option: str, value: int) -> None:
    try:
        part = kind(**{option: value})
    except ValueError:
        return
    for causal in directions(part):
        build(part, causal=causal)  # what may be written is there to be built


def test_every_part_is_listed_once() -> None:
    assert len(set(CATALOGUE)) == len(CATALOGUE)
    for axis in AXES.values():
        ours = [kind for kind in axis.kinds() if kind.__module__.startswith("formers.")]
        assert set(members(axis)) == set(ours), f"{axis.name()}: listed and imported differ"


def test_every_part_has_an_axis() -> None:
    assert {kind.axis for kind in CATALOGUE} == set(AXES.values())
    assert all(issubclass(axis, Part) for axis in AXES.values())


def test_names_are_unique_within_an_axis() -> None:
    for axis in AXES.values():
        names = [kind.name() for kind in members(axis)]
        assert len(set(names)) == len(names)


def test_every_part_has_defaults() -> None:
    assert [kind() for kind in CATALOGUE]


def test_the_library_offers_it() -> None:
    assert formers.CATALOGUE is CATALOGUE
