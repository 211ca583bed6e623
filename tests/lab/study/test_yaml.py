"""Studies as YAML are the studies of Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formers.lab import Arm, Study, read_study, vary, write_study
from formers.mixers import Linear, Softmax

YAML = """
task: shakespeare(length=32)
vary:
  mixer: [softmax, linear(feature=relu)]
arms:
  dense: mixer=dense, residual=danet, norm=max_norm
  deep: {depth: 8}
base: {position: learned, width: 32}
budget: {steps: 20, learning_rate: 1e-3}
seeds: 2
folder: somewhere
"""


def python_study() -> Study:
    return Study(
        task="shakespeare(length=32)",
        arms=(
            *vary(mixer=["softmax", "linear(feature=relu)"]),
            Arm.parse("dense: mixer=dense, residual=danet, norm=max_norm"),
            Arm("deep", {"depth": 8}),
        ),
        base={"position": "learned", "width": 32},
        budget=replace(Study(task="shakespeare").budget, steps=20, learning_rate=1e-3),
        seeds=(0, 1),
        folder=Path("somewhere"),
    )


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


def test_yaml_is_python(tmp_path: Path) -> None:
    assert read_study(written(tmp_path, YAML)) == python_study()


def test_a_written_study_reads_back_equal(tmp_path: Path) -> None:
    write_study(python_study(), tmp_path / "again.yaml")
    assert read_study(tmp_path / "again.yaml") == python_study()


def test_arms_may_be_a_list(tmp_path: Path) -> None:
    text = "task: sort\narms:\n  - 'a: mixer=softmax'\n  - b: mixer=linear\n"
    study = read_study(written(tmp_path, text))
    assert study.arms == (Arm("a", {"mixer": Softmax()}), Arm("b", {"mixer": Linear()}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: shakespeare\nvarry: {}", "did you mean 'vary'"),
        ("task: shakespear", "did you mean 'shakespeare'"),
        ("task: sort\nbudget: {step: 3}", "did you mean 'steps'"),
        ("task: sort\nbudget: {steps: many}", "steps must be a number"),
        ("task: sort\narms: {a: mixer=sofmax}", "did you mean 'softmax'"),
        ("task: sort\narms: 3", "arms must be"),
        ("vary: {}", "task: name"),
        ("task: [", "study.yaml"),
        ("task: sort\narms: {1: mixer=softmax}", "name is text, not 1"),
        ("task: sort\narms: []\nvary: {1: [2]}", "is text, not 1"),
        ("task: sort\nvary: {depth: 2}", "list of alternatives"),
        ("task: sort\nbudget: {learning_rate: .inf}", "learning_rate must be a finite number"),
        ("task: sort\nbudget: {steps: .nan}", "steps must be a finite number"),
        (f"task: sort\nbudget: {{steps: {'9' * 400}}}", "steps must be a finite number"),
        ("task: sort\nseeds: [1, true]", "whole numbers"),
        ("task: sort\nseeds: [[1]]", "whole numbers"),
        ("task: sort\nfolder: 3", "folder must be text"),
        ("task: sort\nmatch: [3]", "match must be text"),
        ("task: sort\nbase: {causal: maybe}", "causal must be True, False or None"),
        ("task: sort\nbase: dropout=nan", "dropout must be a number"),
        ("task: sort\nbase: 3", "choices are"),
        ("task: sort\nbudget: []", "budget must be a mapping"),
    ],
)
def test_yaml_mistakes_name_the_file_and_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_study(written(tmp_path, text))
    assert "study.yaml" in str(caught.value)


def test_a_binary_file_is_no_study(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\x7fELF\x80")
    with pytest.raises(ValueError, match=r"study\.yaml: a study is text in UTF-8"):
        read_study(path)


def test_words_of_yaml_mean_the_same_inside_and_outside_of_texts(tmp_path: Path) -> None:
    for base in ("{causal: false}", "causal=false", "{causal: 'false'}"):
        assert read_study(written(tmp_path, f"task: sort\nbase: {base}\n")).base == {"causal": False}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip))
def test_any_name_of_an_arm_reads_back(tmp_path: Path, name: str) -> None:
    study = replace(python_study(), arms=(Arm(name, {"depth": 1}), Arm(f"{name}: {name}", {})))
    write_study(study, tmp_path / "names.yaml")
    assert read_study(tmp_path / "names.yaml").arms == study.arms


@pytest.mark.parametrize("name", ["a\x85b", "a\u2028b", "a\u2029 b", "a\u0085"])
def test_unusual_line_breaks_in_names_read_back(name: str, tmp_path: Path) -> None:
    study = Study(task="sort", arms=(Arm(name, {"mixer": "softmax"}), Arm("é", {})), folder=tmp_path)
    write_study(study, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml").to_dict() == study.to_dict()
    assert "é" in (tmp_path / "study.yaml").read_text(encoding="utf-8")
