"""What a larger search draws from: as text, in YAML, on the command line, and what it refuses."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from formers.cli.ablate import _changed, _sized, _starting_study
from formers.cli.search_options import read_space
from formers.lab import Arm, Study, read_study, write_study
from formers.lab.study.command_line import study_command
from formers.lab.study.folder import _covers
from formers.lab.study.search_space import SearchSpace, chosen, search_from_texts
from formers.mixers import Performer

OPTIONS = {
    "mixer": "softmax, performer(features=log(8..64)), linear(feature={elu, relu})",
    "lr": "log(1e-4..1e-2)",
    "depth": "1..4",
    "dropout": "0.0..0.5",
}


class First:
    """Draws the first or the last of everything, and remembers what it was asked."""

    def __init__(self, last: bool = False) -> None:
        self.end, self.asked = -int(last), dict[str, Any]()

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        self.asked[name] = list(choices)
        return choices[self.end]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.asked[name] = (low, high, log)
        return (low, high)[self.end]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high, log)
        return (low, high)[self.end]


def space(**changes: Any) -> SearchSpace:
    return SearchSpace(**{"options": OPTIONS} | changes)


def study(**changes: Any) -> Study:
    given = {"task": "sort", "space": space(under="parameters=200k, latency=5ms", together=2), "seeds": (0, 1)}
    return Study(**given | changes)


def test_values_are_lists_ranges_and_those_in_brackets() -> None:
    draws = First()
    assert space().draw(draws) == {"mixer": "softmax", "learning_rate": "0.0001", "depth": "1", "dropout": "0"}
    assert draws.asked == {
        "mixer": ["softmax", "performer(features=log(8..64))", "linear(feature={elu, relu})"],
        "learning_rate": (1e-4, 1e-2, True),
        "depth": (1, 4, False),
        "dropout": (0.0, 0.5, False),
    }
    last = First(last=True)
    assert space().draw(last) == {
        "mixer": "linear(feature=relu())",
        "learning_rate": "0.01",
        "depth": "4",
        "dropout": "0.5",
    }
    assert last.asked["mixer.linear.feature"] == ["elu", "relu"]


def test_values_in_brackets_have_names_of_their_own() -> None:
    draws = First(last=True)
    several = "linear(feature=relu), [window(3..8), performer(features=8..16)], [performer(features=9..12), softmax]"
    assert space(options={"mixer": several}).draw(draws) == {"mixer": "[performer(features=12), softmax]"}
    assert "mixer.features#2" in draws.asked or "mixer.performer.features#2" in draws.asked


def test_a_rate_between_whole_numbers_is_a_real_one() -> None:
    draws = First()
    space(options={"weight_decay": "0..1"}).draw(draws)
    assert draws.asked == {"weight_decay": (0.0, 1.0, False)}


def test_what_is_drawn_is_an_arm_and_a_budget() -> None:
    drawn = space().draw(First(last=True))
    arm, budget = chosen(drawn, "trial 3", study().budget)
    assert arm == Arm.parse("trial 3: mixer=linear(feature=relu), depth=4, dropout=0.5")
    assert budget == replace(study().budget, learning_rate=0.01)
    listed = SearchSpace(options={"mixer": ["softmax", Performer(features=8)], "learning_rate": [0.1, 0.01]})
    assert listed.options == {"mixer": "softmax, performer(features=8)", "learning_rate": "0.1, 0.01"}


def test_beside_a_search_the_base_is_ranked() -> None:
    assert study().arms == (Arm("base"),)
    assert study(arms=(Arm("deep", {"depth": 2}),)).arms[0].name == "deep"


def test_yaml_reads_back(tmp_path: Path) -> None:
    written = study(folder=tmp_path, search_seeds=(7,))
    write_study(written, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml") == written
    (tmp_path / "own.yaml").write_text(
        "task: sort\nsearch:\n  mixer: [softmax, 'linear(feature={elu, relu})']\n  depth: 1..3\n  width: [16, 32]\n"
        "under: {state: 64KiB}\ntrials: 5\n"
    )
    read = read_study(tmp_path / "own.yaml").space
    assert read == SearchSpace(
        options={"mixer": "softmax, linear(feature={elu, relu})", "depth": "1..3", "width": "16, 32"},
        under={"state": 65536},
        trials=5,
    )


def test_the_command_means_the_same_search() -> None:
    words = shlex.split(study_command(study()))
    given = dict(pairwise(words))
    texts = [word for before, word in pairwise(words) if before == "--search"]
    numbers = {name: int(given[f"--{name}"]) for name in ("trials", "front", "together")}
    assert read_space(None, texts, [given["--under"]], numbers) == study().space


def test_the_command_line_changes_a_search(tmp_path: Path) -> None:
    write_study(study(folder=tmp_path), path := tmp_path / "study.yaml")
    start = _starting_study(str(path), None)
    more = read_space(start.space, [], None, {"trials": 50, "front": None})
    assert more == replace(study().space, trials=50)
    found = _changed(start, str(path), {"space": more}, None, {}, {})
    assert (found.space, found.folder, found.arms) == (more, tmp_path, start.arms)
    assert _covers(found, path.read_text())
    assert not _covers(start, path.read_text().replace("trials: 30", "trials: 50"))
    fresh = _changed(_starting_study("sort", None), "sort", {"space": more}, None, {}, {})
    assert fresh.arms == (Arm("base"),)
    large = _changed(_sized(_starting_study("sort", None), "large"), "sort", {"space": more}, None, {}, {})
    assert (large.search, large.space, len(large.seeds)) == ({}, more, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixer": "softmacks, linear"}, "did you mean 'softmax'"),
        ({"deph": "1, 2"}, "did you mean 'depth'"),
        ({"mixer": "performer(feature=8..16)"}, "did you mean 'features'"),
        ({"steps": "1..3"}, "what every arm is given alike"),
        ({"depth": "3"}, "is one value"),
        ({"mixer": "softmax, softmax"}, "comes twice"),
        ({"depth": "4..1"}, "a smaller number before a larger one"),
        ({"lr": "log(0..1)"}, "needs numbers above 0"),
        ({"lr": "log(1e-4, 1e-2)"}, r"log\(1e-4..1e-2\)"),
        ({"dropout": "-1.0..0.5"}, "not negative"),
        ({"batch": "0..3"}, "batch_size must be positive"),
        ({"mixer": "linear(feature={elu, relu)"}, "no pair"),
        ({"depth": None}, "needs a list"),
        ({}, "write options and their values"),
    ],
)
def test_what_cannot_be_searched_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSpace(options=options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match": "parameters"}, "bound its trials with under"),
        ({"search": {"learning_rate": [0.1, 0.2]}}, r"two ways to choose.*learning_rate: \[0.001"),
        ({"arms": (Arm("one", {"width": "{32, 64}"}),)}, "two ways to choose"),
        ({"seeds": (0, 1000)}, "1000 is among the seeds that rank"),
        ({"space": {"mixer": "softmax"}}, "a SearchSpace"),
    ],
)
def test_a_search_goes_not_with_everything(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        study(**changes)


def test_limits_without_a_search_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="say what to search: --search mixer=softmax,linear"):
        read_space(None, [], ["parameters=1k"], {})
    (tmp_path / "own.yaml").write_text("task: sort\ntrials: 5\n")
    with pytest.raises(ValueError, match="trials is of a search"):
        read_study(tmp_path / "own.yaml")
    with pytest.raises(ValueError, match="write name=values"):
        search_from_texts(["mixer"])
    with pytest.raises(ValueError, match="given twice"):
        search_from_texts(["depth=1,2", "depth=3,4"])
    with pytest.raises(ValueError, match="trials is a whole number from 1"):
        space(trials=0)
