from __future__ import annotations

from dataclasses import replace

import pytest

from formers.lab import Arm, Budget, Study, vary
from formers.models import TransformerConfig
from formers.part import Unsupported


def test_what_is_left_out_is_the_default_study() -> None:
    study = Study(task="shakespeare")
    assert [arm.name for arm in study.arms] == ["softmax", "linear", "dense", "metric", "pool", "identity"]
    assert study.folder == Study(task="shakespeare").folder
    assert study.folder != Study(task="shakespeare", seeds=(1,)).folder


def test_every_default_arm_can_be_built() -> None:
    for task in ("shakespeare", "sort"):
        assert all(isinstance(config, TransformerConfig) for config in Study(task=task).configs().values()), task


def test_arms_swap_into_the_base() -> None:
    study = Study(
        task="shakespeare(length=32)",
        arms=vary(mixer=["softmax", "linear(feature=relu)"]),
        base={"position": "learned", "width": 32},
    )
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
    for seeds in ((), (1, 1), (-1,), (2**32,)):
        with pytest.raises(ValueError, match="seeds"):
            Study(task="sort", seeds=seeds)


def test_the_budget_of_the_default_study_is_the_tasks() -> None:
    assert Study(task="sort").budget == Budget(**Study(task="sort").task.budget)  # type: ignore[arg-type]


_WRONG = {"base": [1], "budget": "x", "match": ["steps"], "shard": 1, "folder": 5, "task": None}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"arms": arms} for arms in ((0.5,), "softmax", 3)),
        *({"seeds": seeds} for seeds in (3, "1")),
        *({name: value} for name, value in _WRONG.items()),
    ],
)
def test_attributes_of_another_type_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=f"a study: {next(iter(wrong))} must be "):
        Study(**{"task": "sort"} | wrong)


def test_seeds_are_whole_numbers() -> None:
    for seeds in ([True], [[1]], [0.0], []):
        with pytest.raises(ValueError, match="seeds must be different whole numbers"):
            Study(task="sort", seeds=seeds)


def test_sizes_that_no_machine_has_room_for_are_an_error_of_the_arm() -> None:
    large = Arm("large", {"mixer": f"performer(features={2**62})"})
    with pytest.raises(ValueError, match="arm 'large': no machine has room for a tensor of these sizes"):
        Study(task="sort", arms=(large,)).configs()
    with pytest.raises(ValueError, match="width must be a whole number from 1 to"):
        Study(task="sort", arms=(Arm("wide", {"width": 10**12, "heads": 1}),)).configs()
