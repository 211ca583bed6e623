from __future__ import annotations

import pytest

from formers.lab.study.choices import choice_text, choices_text, parse_alternatives, parse_choices, split_top_level
from formers.mixers import Dense, Linear, Relu, Softmax
from formers.positions import NoPosition


def test_split_only_cuts_at_the_top() -> None:
    assert split_top_level("softmax,linear(feature=relu, normalize=False), [a, b],'x,y'") == [
        "softmax",
        "linear(feature=relu, normalize=False)",
        "[a, b]",
        "'x,y'",
    ]


@pytest.mark.parametrize("text", ["a,,b", "a,", "f(a", "'a", "a)"])
def test_split_refuses_what_is_unfinished(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        split_top_level(text)


def test_choices_become_parts_and_numbers() -> None:
    choices = parse_choices("mixer=linear(feature=relu), position=none, depth=3, dropout=0.5")
    assert choices == {"mixer": Linear(feature=Relu()), "position": NoPosition(), "depth": 3, "dropout": 0.5}


def test_a_mixer_may_be_a_cycle() -> None:
    assert parse_choices("mixer=[softmax, dense(heads=2)]") == {"mixer": (Softmax(), Dense(heads=2))}


def test_text_reads_back() -> None:
    choices = {"mixer": (Softmax(), Linear(feature=Relu())), "depth": 3, "dropout": 0.5}
    assert parse_choices(choices_text(choices)) == choices
    assert choice_text(Softmax()) == "softmax"


def test_mistakes_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        parse_choices("mixer=sofmax")
    with pytest.raises(TypeError, match="did you mean 'feature'"):
        parse_choices("mixer=linear(featur=relu)")
    with pytest.raises(ValueError, match="name=value"):
        parse_choices("softmax")
    with pytest.raises(ValueError, match=r"as in mixer=linear\(feature=relu\)"):
        parse_choices("linear(feature=relu)")
    with pytest.raises(ValueError, match="twice"):
        parse_choices("depth=2, depth=3")


def test_alternatives() -> None:
    assert parse_alternatives("mixer=softmax,dense(heads=2)") == ("mixer", ["softmax", "dense(heads=2)"])
