"""Annotations of options: what Python cannot read, and what is no type of an option, is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from formers.part import Part, option_hints


class _Axis(Part):
    """An axis for these tests."""


@pytest.mark.parametrize(
    "annotation",
    ["How often.", "Nowhere", "1 +", "1 / 0", "3", "list[int]", "tuple[int, int]", "dict[str, int] | None", 3, [int]],
    ids=str,
)
def test_an_annotation_that_is_no_type_is_named(annotation: Any) -> None:
    attributes = {"__annotations__": {"rounds": annotation}, "rounds": 1, "__module__": __name__}
    kind: Any = type("Often", (_Axis,), attributes)
    for use in (kind, lambda: kind.parse("often(rounds=2)"), lambda: kind.from_json({"part": "often", "rounds": 2})):
        with pytest.raises(TypeError, match="option rounds of Often is annotated with"):
            use()


def test_inherited_annotations_are_read_where_they_stand() -> None:
    class Above(_Axis):
        """One with an option."""

        rounds: int = 1

    class Below(Above):
        """One with that option, and another."""

        rounds: float = 1.0
        words: tuple[str, ...] | None = None

    assert option_hints(Above) == {"rounds": int}
    assert option_hints(Below) == {"rounds": float, "words": tuple[str, ...] | None}
