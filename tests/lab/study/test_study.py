from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Arm, Budget, Study, vary
from formers.mixers import Linear, Softmax
from formers.models import TransformerConfig
from formers.part import Unsupported

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
        budget=replace(Study(task="shakespeare").given, steps=20, learning_rate=1e-3),
        seeds=(0, 1),
        folder=Path("somewhere"),
    )


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return path


def test_yaml_is_python(tmp_path: Path) -> None:
    assert Study.from_yaml(written(tmp_path, YAML)) == python_study()


def test_a_written_study_reads_back_equal(tmp_path: Path) -> None:
    python_study().to_yaml(tmp_path / "again.yaml")
    assert Study.from_yaml(tmp_path / "again.yaml") == python_study()


def test_arms_may_be_a_list(tmp_path: Path) -> None:
    text = "task: sort\narms:\n  - 'a: mixer=softmax'\n  - b: mixer=linear\n"
    study = Study.from_yaml(written(tmp_path, text))
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
    ],
)
def test_yaml_mistakes_name_the_file_and_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Study.from_yaml(written(tmp_path, text))
    assert "study.yaml" in str(caught.value)


def test_what_is_left_out_is_the_default_study() -> None:
    study = Study(task="shakespeare")
    assert [arm.name for arm in study.arms] == ["softmax", "linear", "dense", "metric", "pool", "identity"]
    assert study.folder == Study(task="shakespeare").folder
    assert study.folder != Study(task="shakespeare", seeds=(1,)).folder


def test_every_default_arm_can_be_built() -> None:
    for task in ("shakespeare", "sort"):
        assert all(isinstance(config, TransformerConfig) for config in Study(task=task).configs().values()), task


def test_arms_swap_into_the_base() -> None:
    study = python_study()
    config = study.config(study.arms[1])
    assert (config.width, str(config.mixer), str(config.position)) == (32, "linear(feature=relu())", "learned()")
    assert config.vocab_size == 65


def test_an_arm_that_cannot_exist_is_told_apart_from_a_wrong_one() -> None:
    study = Study(task="shakespeare", arms=vary(mixer=["softmax", "fourier"]))
    configs = study.configs()
    assert isinstance(configs["softmax"], TransformerConfig)
    assert isinstance(configs["fourier"], Unsupported)
    for wrong, message in ({"dept": 2}, "did you mean 'depth'"), ({"width": 30, "heads": 4}, "heads"):
        with pytest.raises(ValueError, match=message) as caught:
            replace(study, arms=(Arm("mine", wrong),)).configs()
        assert "'mine'" in str(caught.value)


def test_arms_and_seeds_are_different() -> None:
    with pytest.raises(ValueError, match="'a' comes more than once"):
        Study(task="sort", arms=(Arm("a", {"depth": 1}), Arm("a", {"depth": 2})))
    for seeds in ((), (1, 1)):
        with pytest.raises(ValueError, match="seeds"):
            Study(task="sort", seeds=seeds)


def test_the_budget_of_the_default_study_is_the_tasks() -> None:
    assert Study(task="sort").budget == Budget(**Study(task="sort").task.budget)  # type: ignore[arg-type]
