"""YAML that is nested, binary, tagged or ambiguous is refused with one clear error."""

from __future__ import annotations

from typing import Any

import pytest

from formers.lab.study.yaml_text import parse_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000, "levels deep"),
        ("{a: " * 5000, "levels deep"),
        ("- " * 5000 + "a", "levels deep"),
        ("a: 1\nb: {c: 1, c: 2}", "line 2: key 'c' comes twice"),
        ("seeds: 1\nseeds: 2", "comes twice"),
        ("[a]: 1", "line 1"),
        ("a: !!python/object/apply:os.system [ls]", "tags such as"),
        ("a: !!timestamp x", "tags such as"),
        ("a: !!binary aaaa", "tags such as"),
        ('a: 1\nfolder: "studies/\\uD800"', "line 2: .* half of a surrogate pair"),
        ('"\\uDC00": 1', "half of a surrogate pair"),
        ("a: 0b_", "line 1"),
        ("a: " + "9" * 5000, "line 1"),
        ("&a [*a]", "recursive"),
        ("a: [", "cannot read this as YAML"),
        ("a\x00b", "cannot read this as YAML"),
        ("a: 1\n---\nb: 2", "cannot read this as YAML"),
        ("*a", "undefined alias"),
        ("a: &a {b: 1}\nc: {<<: [*a, *a]}", "line 2: << takes one mapping"),
        (" " * (2**24 + 1), "characters"),
    ],
    ids=range(20),
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("", None),
    ],
)
def test_the_rest_of_yaml_is_read(text: str, value: Any) -> None:
    assert parse_yaml(text) == value
