"""Texts of parts: read back equal, dropped nowhere, refused with a short reason where they mean nothing."""

from __future__ import annotations

import contextlib
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from formers.catalogue import CATALOGUE
from formers.ffn import Ffn
from formers.mixers import Mixer, Softmax
from formers.models import TransformerConfig
from formers.part import Part, default_of, option_hints, parse_value
from formers.part.nesting import DEEPEST
from formers.part.option_types import alternatives
from formers.patterns import PATTERNS, Both, Every, Global, Outside, Pattern, Window
from formers.positions import Rotary
from formers.tasks import TASKS, Shakespeare
from formers.tasks import parse as parse_task

KINDS = (*CATALOGUE, *PATTERNS, *TASKS)


def values(hint: Any, depth: int = 2) -> st.SearchStrategy[Any]:
    """Any value of an option's type."""
    return st.one_of([_values(option, depth) for option in alternatives(hint)])


def _values(option: Any, depth: int) -> st.SearchStrategy[Any]:
    if get_origin(option) is Literal:
        return st.sampled_from(get_args(option))
    if get_origin(option) is tuple:
        return st.lists(values(get_args(option)[0], depth), max_size=3).map(tuple)
    if isinstance(option, type) and issubclass(option, Part):
        return st.one_of([parts(kind, depth - 1) for kind in option.kinds()])
    return {
        int: st.integers(-9, 99) | st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        str: st.text(),
        type(None): st.none(),
    }[option]


@st.composite
def parts(draw: Any, kind: type[Part], depth: int = 2) -> Part:
    """A part of a kind with any values of its options that go together."""
    hints = option_hints(kind)
    needed = [field.name for field in fields(kind) if default_of(field) is MISSING]
    part = kind(**{name: draw(values(hints[name], depth)) for name in needed})
    for field in fields(kind) if depth > 0 else ():
        value = draw(values(hints[field.name], depth))
        with contextlib.suppress(ValueError):
            part = part.swap(**{field.name: value})
    return part


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_any_option_reads_back(kind: type[Part]) -> None:
    @settings(max_examples=20)
    @given(parts(kind))
    def reads_back(part: Part) -> None:
        assert type(part).parse(str(part)) == part
        assert str(type(part).parse(str(part))) == str(part)
        assert part.axis.from_json(part.to_json()) == part

    reads_back()


@given(st.text())
@example("window(2) | global, every")
@example('it\'s "quoted" \\ \n \x00 \ud800 \u202e')
@example("nested 'global'")
def test_any_text_in_quotes_reads_back(text: str) -> None:
    assert parse_value(str, repr(text)) == text
    assert parse_task(f"shakespeare(path={text!r})").path == text


@given(st.text(alphabet="softmaxwindow()[]{}|&~=,.:'\"\\ #*-+0123456789eE_\nglobal", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for axis in (Mixer, Pattern, Ffn):
        with contextlib.suppress(ValueError, TypeError):
            part = axis.parse(text)
            assert axis.parse(str(part)) == part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("softmax(kv_heads=1, kv_heads=2)", "kv_heads of softmax is given twice"),
        ("softmax(**{'kv_heads': 3})", "expected an option"),
        ("softmax(*[3])", "expected an option"),
        ("softmax(kv_heads=1) # of 4", "expected the end"),
        ("softmax softmax", "expected the end"),
        ("softmax()()", "expected the end"),
        ("sparse(pattern=window(4, width=8))", "width of window is given twice"),
        ("sparse(pattern=window(width=4, 8))", "options are named"),
        ("sparse(pattern=every(8))", "every has no options"),
        ("sparse(pattern=window(4) - global(0))", "expected , or \\)"),
        ("sparse(pattern=window(4) |)", "expected a value"),
        ("linear(feature='relu' 'elu')", "expected , or \\)"),
        ("softmax(kv_heads=--1)", "expected a value"),
        ("softmax(kv_heads=1_)", "not a number"),
        ("softmax(kv_heads=1j)", "not a number"),
        ("softmax(kv_heads=1", "the text ends"),
        ("softmax(kv_heads='1)", "left open"),
        ("softmax_", "did you mean 'softmax'"),
    ],
)
def test_nothing_in_a_text_is_dropped(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixer.parse(text)


def test_a_text_with_signs_in_it_needs_quotes() -> None:
    with pytest.raises(ValueError, match="written in quotes"):
        Ffn.parse("mlp(activation=gelu/tanh)")
    with pytest.raises(ValueError, match="quotes"):
        parse_task("shakespeare(path=texts/my.txt)")
    assert parse_task("shakespeare(path='texts/my.txt')") == Shakespeare(path="texts/my.txt")


def test_words_of_yaml_are_read_where_the_option_takes_them() -> None:
    assert Mixer.parse("softmax(kv_heads=null)") == Softmax(kv_heads=None)
    assert Mixer.parse("linear(normalize=false)") == Mixer.parse("linear(normalize=False)")
    assert parse_value(str, "false") == "false"


def test_a_text_may_begin_with_another_member_than_the_one_it_means() -> None:
    assert Both.parse("window(2) & global") == Window(2) & Global(0)
    assert Outside.parse("~every") == ~Every()
    for kind, text in ((Both, "window(2) | global"), (Window, "every"), (Window, "~window(2)")):
        with pytest.raises(ValueError, match=f"is not a {kind.name()}; write one of {kind.name()}"):
            kind.parse(text)
    with pytest.raises(ValueError, match="did you mean 'window'"):
        Both.parse("windw(2) & global")


def test_names_may_be_keywords_of_python_and_texts_may_hold_them() -> None:
    assert Pattern.parse("window(2)|global") == Window(2) | Global(0)
    assert parse_task("shakespeare(path='a global, b')").path == "a global, b"


@pytest.mark.parametrize(
    "text",
    [
        "~" * 1000 + "window(2)",
        "(" * 1000 + "window(2)" + ")" * 1000,
        " | ".join(["window(2)"] * 1000),
        "outside(" * 1000 + ")" * 1000,
        "listed(" + "[" * 1000 + "]" * 1000 + ")",
        "~(" * 1000,
    ],
)
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="levels deep"):
        Pattern.parse(text)


def test_every_way_in_has_the_same_depth() -> None:
    deep: Pattern = Window(2)
    for _ in range(DEEPEST - 1):
        deep = ~deep
    assert Pattern.parse(str(deep)) == deep == Pattern.from_json(deep.to_json())
    deeper = ~~deep
    config = {"part": "every"}
    for _ in range(1000):
        config = {"part": "outside", "of": config}  # type: ignore[dict-item]
    for read in (lambda: Pattern.parse(str(deeper)), lambda: Pattern.from_json(config)):
        with pytest.raises(ValueError, match="levels deep"):
            read()
    with pytest.raises(ValueError, match="levels deep"):
        TransformerConfig(mixer=deeper)


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "9" * 5000, "1e400", str(2**63), "inf", "nan"])
def test_numbers_have_limits(number: str) -> None:
    for text in (f"softmax(kv_heads={number})", f"linear(eps={number})"):
        with pytest.raises((ValueError, TypeError)) as caught:
            Mixer.parse(text)
        assert caught.type in (ValueError, TypeError)
    with pytest.raises(TypeError, match="base must be finite float"):
        Rotary(base=10**400)


LONG = {
    "word": "x" * 10**6,
    "option": "softmax(" + "x" * 10**6,
    "quotes": "'" * 10**6,
    "brackets": "softmax" + "(" * 10**6,
    "escapes": '"\\' * 10**6,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_messages_stay_short(text: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Mixer.parse(text)
    assert len(str(caught.value)) < 1000
    for wrong in ({"part": text}, {"part": "mlp", text: 1}, {"part": "mlp", "expansion": [[text] * 99] * 99}):
        with pytest.raises((ValueError, TypeError)) as caught:
            Ffn.from_json(wrong)
        assert len(str(caught.value)) < 1000


def test_words_that_are_a_subclass_of_text_become_text() -> None:
    class _Word(str):
        def __repr__(self) -> str:
            return "<word>"

    assert str(Shakespeare(path=_Word("a"))) == "shakespeare(path='a')"


def test_an_option_without_a_default_is_asked_for() -> None:
    for text in ("glue", "glue(length=8)"):
        with pytest.raises(TypeError, match=r"glue needs task; write glue\(length=…"):
            parse_task(text)
