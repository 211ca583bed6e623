from __future__ import annotations

import pytest

from formers.lab import Arm, vary
from formers.mixers import Dense, Linear, Softmax
from formers.positions import Cosine, Learned


def test_vary_combines_every_alternative() -> None:
    arms = vary(mixer=["softmax", Linear()], position=[Learned(), "cosine"])
    assert [arm.name for arm in arms] == ["softmax, learned", "softmax, cosine", "linear, learned", "linear, cosine"]
    assert arms[-1].swaps == {"mixer": Linear(), "position": Cosine()}


def test_numbers_keep_their_axis_in_the_name() -> None:
    assert [arm.name for arm in vary(mixer=["softmax"], depth=[1, 2])] == ["softmax, depth=1", "softmax, depth=2"]
    assert [arm.name for arm in vary(mixer=[["softmax", "pool"], "linear"])] == ["[softmax, pool]", "linear"]


def test_arms_read_back_from_their_text() -> None:
    arm = Arm.parse("dense: mixer=dense(heads=2), residual=danet")
    assert arm.name == "dense"
    assert arm.swaps["mixer"] == Dense(heads=2)
    assert Arm.parse(arm.text) == arm


def test_an_arm_without_a_name_is_called_by_its_choices() -> None:
    assert Arm.parse("mixer=softmax, depth=2") == Arm("mixer=softmax, depth=2", {"mixer": Softmax(), "depth": 2})


def test_text_and_parts_are_the_same_arm() -> None:
    assert Arm("a", {"mixer": "softmax"}) == Arm("a", {"mixer": Softmax()})


def test_one_alternative_must_be_a_list_too() -> None:
    with pytest.raises(ValueError, match="list of alternatives"):
        vary(mixer="softmax")


@pytest.mark.parametrize("name", [1, None, True, "", "  ", "\udcff"])
def test_names_are_text(name: object) -> None:
    with pytest.raises((TypeError, ValueError), match="name"):
        Arm(name, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a: b", " a ", "'a': b", "'tis", "a:", '"', "mixer=softmax"])
def test_any_name_reads_back(name: str) -> None:
    for swaps in ({}, {"mixer": "dense"}):
        assert Arm.parse(Arm(name, swaps).text) == Arm(name, swaps)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("causal", "maybe"),
        ("dropout", float("nan")),
        ("initializer_range", ""),
        ("width", 10**400),
        ("mixer", [["softmax"]]),
        ("mixer", ...),
        ("depth", ()),
        ("dept", 1),
    ],
)
def test_choices_are_checked_as_a_configuration_checks_them(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="arm 'a'"):
        Arm("a", {name: value})


def test_words_are_no_switches() -> None:
    assert Arm.parse("a: causal=false, tie_word_embeddings=False").swaps == {
        "causal": False,
        "tie_word_embeddings": False,
    }


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(ValueError, match="too many arms"):
        vary(depth=[*range(1, 200)], width=[*range(1, 200)])
