"""Options of which each arm takes the best: as text, in YAML, on the command line, and what they refuse."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from formers.cli.ablate import _changed, _starting_study
from formers.lab import Arm, Budget, Study, read_study, write_study
from formers.lab.study.alternatives import Alternatives
from formers.lab.study.candidates import candidates
from formers.lab.study.command_line import study_command
from formers.mixers import Linear, Performer

RATES = (1e-3, 3e-3, 1e-2)


def study(**changes: Any) -> Study:
    arms = (Arm("softmax", {"mixer": "softmax"}), Arm("cheap", {"mixer": "{linear, performer(features=8)}"}))
    return Study(**{"task": "sort", "arms": arms, "search": {"learning_rate": RATES}} | changes)


def test_candidates_are_all_combinations() -> None:
    of_softmax, of_cheap = (candidates(study(), arm) for arm in study().arms)
    assert [it.budget.learning_rate for it in of_softmax] == list(RATES)
    assert [it.options for it in of_softmax][1] == {"learning_rate": "0.003"}
    assert len(of_cheap) == 6
    assert of_cheap[1].arm == Arm("cheap", {"mixer": Performer(features=8)})
    assert of_cheap[1].options == {"learning_rate": "0.001", "mixer": "performer(features=8)"}


def test_alternatives_are_text_and_values() -> None:
    given = {"mixer": Alternatives((Linear(), Performer(features=8))), "width": Alternatives((32, 64))}
    arm = Arm("one of them", given)
    assert arm.text == "one of them: mixer={linear, performer(features=8)}, width={32, 64}"
    assert Arm.parse(arm.text) == arm
    assert arm.first.swaps == {"mixer": Linear(), "width": 32}


def test_a_study_without_search_is_as_before() -> None:
    plain = study(search={}, arms=(Arm("softmax", {"mixer": "softmax"}),))
    assert not plain.searches
    assert "search_seeds" not in plain.to_dict()
    assert [it.options for it in candidates(plain, plain.arms[0])] == [{}]
    assert study(search={"learning_rate": [0.5]}, arms=plain.arms).budget.learning_rate == 0.5


def test_yaml_reads_back(tmp_path: Path) -> None:
    written = study(search={"learning_rate": RATES, "batch_size": (8, 16)}, search_seeds=(7, 8), folder=tmp_path)
    write_study(written, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml") == written
    (tmp_path / "own.yaml").write_text("task: sort\nbudget: {learning_rate: [1e-3, 3e-3], steps: 3}\n")
    read = read_study(tmp_path / "own.yaml")
    assert read.search == {"learning_rate": (1e-3, 3e-3)}
    assert read.budget == replace(read.budget, learning_rate=1e-3, steps=3)


def test_the_command_means_the_same_study() -> None:
    words = shlex.split(study_command(study(search_seeds=(7,))))
    assert words[words.index("--learning-rate") + 1] == "0.001,0.003,0.01"
    assert words[words.index("--search-seeds") + 1] == "7"
    arms = [Arm.parse(word) for before, word in pairwise(words) if before == "--arm"]
    assert tuple(arms) == study().arms


def test_the_command_line_changes_a_search(tmp_path: Path) -> None:
    write_study(study(folder=tmp_path), tmp_path / "study.yaml")

    def changed(**budget: str) -> Study:
        path = str(tmp_path / "study.yaml")
        return _changed(_starting_study(path, None), path, {}, None, {}, budget)

    assert changed().search == {"learning_rate": RATES}
    assert changed(learning_rate="0.02").search == {}
    assert changed(learning_rate="0.02").budget.learning_rate == 0.02
    assert changed(warmup="0,0.5").search == {"learning_rate": RATES, "warmup": (0, 0.5)}
    with pytest.raises(ValueError, match="neither a number nor a list"):
        changed(learning_rate="fast")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"steps": [1, 2]}}, "steps is what every arm is given alike"),
        ({"search": {"rate": [1, 2]}}, "rate"),
        ({"search": {"learning_rate": 0.1}}, r"needs a list such as \[0.001, 0.003\]"),
        ({"search": {"learning_rate": [0.1, 0.1]}}, "0.1 comes twice"),
        ({"search": {"learning_rate": [0.1, -1]}}, "learning_rate must be positive"),
        ({"seeds": (0, 1000)}, "1000 is among the seeds that rank"),
        ({"search_seeds": ()}, "search_seeds must be different whole numbers"),
        ({"arms": (Arm("one", {"width": "{32, 64}"}),), "match": "parameters"}, "takes no alternatives"),
    ],
)
def test_what_cannot_be_searched_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_a_budget_refuses_a_list() -> None:
    with pytest.raises(TypeError, match="learning_rate must be a number"):
        Budget(learning_rate=[1e-3])  # type: ignore[arg-type]


def test_alternatives_are_several() -> None:
    with pytest.raises(ValueError, match="two values or more"):
        Arm.parse("one: width={32}")
    with pytest.raises(ValueError, match="softmax"):
        Arm.parse("one: mixer={softmacks, linear}")
