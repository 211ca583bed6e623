"""The part machinery: names, options, text and JSON, for every member of the catalogue."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formers.catalogue import CATALOGUE
from formers.mixers import Dense, Elu, FeatureMap, Linear, Metric, Mixer, Pool, Relu, Softmax, SquaredRelu
from formers.norms import NoNorm
from formers.part import ABILITIES, Part, Unsupported
from formers.patterns import PATTERNS, Global
from formers.positions import Alibi, Position, Rotary, Sinusoidal
from formers.residuals import Danet
from formers.testing.laws.options import values_beside

KINDS = pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name())


@st.composite
def parts(draw: Any) -> Part:
    """Any part of the catalogue, with any options that go together."""
    kind = draw(st.sampled_from(CATALOGUE))
    part = kind()
    for field in fields(kind):
        value = draw(st.sampled_from([getattr(part, field.name), *values_beside(part, field.name)]))
        with contextlib.suppress(ValueError):
            part = part.swap(**{field.name: value})
    return part


@given(parts())
def test_text_reads_back(part: Part) -> None:
    for axis in (part.axis, type(part)):
        assert axis.parse(str(part)) == part
        assert axis.parse(repr(part)) == part


@given(parts())
def test_json_reads_back(part: Part) -> None:
    again = part.axis.from_json(json.loads(json.dumps(part.to_json())))
    assert again == part
    assert str(again) == str(part)
    left_out = {name for name, value in part.added.items() if getattr(part, name) == value}
    listed = {"part", *(f.name for f in fields(part))} - left_out
    assert set(part.to_json()) == listed, "JSON lists every option, defaults too"


@KINDS
def test_json_from_before_an_option_was_added_reads_back(kind: type[Part]) -> None:
    old = kind().swap(**kind.added)
    written = old.to_json()
    assert not written.keys() & kind.added.keys()
    assert kind.from_json(written) == old


def parts_in(part: Part) -> Iterator[Part]:
    """Yield the parts that are a part's options, theirs, and the part itself last."""
    for field in fields(part):
        value = getattr(part, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Part):
                yield from parts_in(one)
    yield part


@example(Danet(out_norm=NoNorm()))
@given(parts())
def test_python_reads_back(part: Part) -> None:
    inner = (kind for axis in Part.__subclasses__() for kind in axis.kinds())  # of options, such as an exit's rule
    names = {kind.name(): kind for kind in (*inner, *CATALOGUE, *PATTERNS)}
    names |= {one.name(): type(one) for one in parts_in(part)}  # `none` is a norm, a memory and a position
    names |= {"global_": Global}
    assert eval(str(part).replace("global(", "global_("), {}, names) == part  # `global` is a keyword, in Python Global


@given(parts())
def test_copies_are_equal(part: Part) -> None:
    for again in (copy.deepcopy(part), copy.copy(part), pickle.loads(pickle.dumps(part))):
        assert again == part
        assert hash(again) == hash(part)


@given(parts(), parts())
def test_equal_means_same_text_on_the_same_axis(a: Part, b: Part) -> None:
    assert (a == b) == ((a.axis, str(a)) == (b.axis, str(b)))  # several axes have a `none`
    if a == b:
        assert hash(a) == hash(b)


@KINDS
def test_parts_are_frozen(kind: type[Part]) -> None:
    part = kind()
    for field in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(part, field.name, getattr(part, field.name))


@KINDS
def test_every_option_is_documented(kind: type[Part]) -> None:
    docs = kind.option_docs()
    assert list(docs) == [f.name for f in fields(kind)]
    assert not [name for name, text in docs.items() if len(text) < 2 or not text.endswith((".", "?", ")"))]


@KINDS
def test_every_part_says_what_it_computes(kind: type[Part]) -> None:
    doc = kind.__doc__ or ""
    assert doc.splitlines()[0].rstrip().endswith((".", ":", ","))
    assert re.search(r"Source|arXiv|[=(+·/]", doc), "a formula or a source"


@KINDS
def test_near_misses_are_named(kind: type[Part]) -> None:
    for field in fields(kind):
        with pytest.raises(
            TypeError, match=f"{kind.name()} has no option '{field.name}x'; did you mean '{field.name}'"
        ):
            kind(**{field.name + "x": 1})
        with pytest.raises(TypeError, match="did you mean"):
            kind().swap(**{field.name + "x": 1})
    with pytest.raises(ValueError, match=f"did you mean '{kind.name()}'"):
        kind.axis.parse(f"{kind.name()}e()")


@KINDS
def test_wrong_types_are_refused(kind: type[Part]) -> None:
    for field in fields(kind):
        with pytest.raises(TypeError, match=f"option {field.name} must be .*was given"):
            kind(**{field.name: object()})
    if not getattr(kind, "positional", False):
        with pytest.raises(TypeError, match="named options only"):
            kind(1)


@KINDS
def test_abilities_are_known(kind: type[Part]) -> None:
    assert kind.can <= ABILITIES.keys()


def test_text_lists_what_differs() -> None:
    assert str(Linear()) == "linear()"
    assert str(Linear(feature=SquaredRelu(), normalize=False)) == "linear(feature=squared_relu(), normalize=False)"
    assert Mixer.parse("linear(feature=squared_relu)") == Linear(feature=SquaredRelu())
    assert Mixer.parse(" dense ") == Dense()
    assert Position.parse("rotary(layout=interleaved)") == Rotary(layout="interleaved")


def test_numbers_of_the_right_kind() -> None:
    assert Rotary(base=500) == Rotary(base=500.0)
    assert hash(Rotary(base=500)) == hash(Rotary(base=500.0))
    with pytest.raises(TypeError, match="window must be int, but True"):
        Pool(window=True)
    with pytest.raises(TypeError, match=r"window must be int, but 3.0"):
        Pool(window=3.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="kv_heads must be int or None"):
        Softmax(kv_heads="all")  # type: ignore[arg-type]


def test_words_must_be_known() -> None:
    with pytest.raises(TypeError, match="order must be one of 'auto', 'scores', 'state', but 'fast'"):
        Dense(order="fast")  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"feature must be a feature_map \(.*elu.*\), but Softmax|feature must be a feature_map"
    ):
        Linear(feature=Softmax())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "pool(window=1+1)",
        "pool(window=len('abc'))",
        "pool(3)",
        "pool(",
        "3",
        "lambda: 1",
        "rotary()",
    ],
)
def test_only_literals_and_parts_are_read(text: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        Mixer.parse(text)
    assert caught.type is not SyntaxError
    assert not str(caught.value).startswith("malformed")


@pytest.mark.parametrize("data", [None, 3, {}, {"window": 3}, {"part": 3}, ["pool"]])
def test_json_must_name_a_part(data: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Mixer.from_json(data)


def test_json_with_unknown_names() -> None:
    with pytest.raises(ValueError, match="there is no mixer 'pol'; did you mean 'pool'"):
        Mixer.from_json({"part": "pol"})
    with pytest.raises(TypeError, match="pool has no option 'windw'; did you mean 'window'"):
        Mixer.from_json({"part": "pool", "windw": 3})


def test_an_axis_is_no_part() -> None:
    with pytest.raises(ValueError):
        Mixer.parse("mixer()")
    with pytest.raises(ValueError):
        Mixer.parse("alibi()")


def test_swap_changes_one_thing() -> None:
    part = Linear(normalize=False)
    assert part.swap(feature=Relu()) == Linear(feature=Relu(), normalize=False)
    assert part == Linear(normalize=False)
    with pytest.raises(ValueError, match="window"):
        Pool().swap(window=0)


def test_require_names_everything() -> None:
    with pytest.raises(Unsupported, match=r"pool\(\) cannot be trim .*because.*Use softmax\(\) instead"):
        Pool().require("causal", "trim", why="because", instead="softmax()")
    Pool().require("causal")


def test_options_that_would_do_nothing_raise() -> None:
    for make in (
        lambda: Metric(eps=0.5),
        lambda: Rotary(scaling="linear"),
        lambda: Rotary(factor=2),
        lambda: Rotary(scaling="linear", factor=2, trained_length=64),
        lambda: Sinusoidal(width=8),
    ):
        with pytest.raises(ValueError):
            make()


def test_a_part_of_ones_own() -> None:
    class _Own(Mixer):
        """Does nothing."""

        can = frozenset({"causal"})
        depth: int = 2
        "How deep."

    assert _Own.axis is Mixer
    assert _Own(depth=3) == _Own(depth=3) != _Own()
    assert _Own.option_docs() == {"depth": "How deep."}
    assert _Own not in Mixer.kinds()
    with pytest.raises(TypeError, match="unknown abilities"):

        class _Wrong(Mixer):
            can = frozenset({"flying"})


def test_kinds_by_axis() -> None:
    assert {Elu, Relu} <= set(FeatureMap.kinds())
    assert Alibi not in FeatureMap.kinds()
