"""The study of LoRA on digits runs small, goes on where it stopped, and shows what is published beside it."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft", reason="LoRA needs the extra adapt: pip install peft")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield import_module("lora_mnist")
    sys.modules.pop("lora_mnist", None)


@pytest.fixture
def study(module: Any) -> Any:
    """The study on made-up digits: each has a bright bar in a column of its own."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (600,), generator=generator)
    images = torch.randint(0, 60, (600, 28, 28), generator=generator)
    images[torch.arange(600), 2:20, 2 * labels] = 255
    digits = module.Digits(images.to(torch.uint8), labels)
    made = object.__new__(module.Study)
    made.train, made.test, made._pretrained = digits, digits, {}
    return made


def test_trainings_are_kept_and_gone_on_with(module: Any, study: Any, tmp_path: Path) -> None:
    plan = module.planned([1], [1, 64])
    assert len(plan) == 4 + 3 + 2 * 3 + 2 * 4
    part = module.run_all(study, plan[:9], tmp_path / "trainings.json")
    again = module.run_all(study, plan, tmp_path / "trainings.json")
    assert again[:9] == part
    assert len(json.loads((tmp_path / "trainings.json").read_text())["trainings"]) == len(plan)
    by_key = {it.key: it for it in again}
    assert by_key[1, "before", "MNIST", 0].parameters == 55_050
    assert [by_key[1, "lora", "rotated", rank].parameters for rank in (1, 64)] == [1_050, 67_200]
    assert by_key[1, "lora", "rotated", 64].accuracy > by_key[1, "before", "rotated", 0].accuracy + 10
    lines = list(module.table(again))
    assert "| 5.52 |" in next(line for line in lines if line.startswith("| before adaptation"))
    module.draw(again, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_results_of_other_images_are_not_mixed(module: Any, study: Any, tmp_path: Path) -> None:
    module.run_all(study, module.planned([1], [1])[:1], tmp_path / "trainings.json")
    study.train = module.Digits(study.train.images[:300], study.train.labels[:300])
    with pytest.raises(ValueError, match="give another --folder"):
        module.run_all(study, module.planned([1], [1]), tmp_path / "trainings.json")


def test_a_training_depends_on_its_seed_only(module: Any, study: Any) -> None:
    it = module.planned([1], [2])[8]
    first = study.run(it)
    torch.rand(7)
    assert study.run(it) == first
    study._pretrained = {}
    assert study.run(it) == first
