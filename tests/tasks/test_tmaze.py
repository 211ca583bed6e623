from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from formers.lab import Arm, Budget, Study, run
from formers.tasks import Tmaze, parse
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.task import BEGINS


class Rememberer(nn.Module):
    """Turns as the sign said, if it has read it since its memory was last empty; as the last of the signs if not."""

    device = torch.device("cpu")

    def __init__(self, carried: bool = True) -> None:
        super().__init__()
        self.config = SimpleNamespace(memory=SimpleNamespace(carried=carried))
        self.signs: dict[int, Tensor] = {}

    def forward(self, input_ids: Tensor, past_key_values: Any = None) -> SimpleNamespace:
        first_b = input_ids[:, 0]
        known = self.signs.setdefault(id(past_key_values), first_b) if past_key_values is not None else first_b
        out = torch.zeros(*input_ids.shape, 10)
        out[torch.arange(len(known)), -1, known.clamp(max=3)] = 1
        return SimpleNamespace(logits=out)


def test_a_memory_is_right_in_every_corridor() -> None:
    task = Tmaze()
    found = task.evaluate(Rememberer(), "test")  # type: ignore[arg-type]
    assert found.metrics == {"accuracy": 1.0}
    assert found.slices == {"corridor": {"32": 1.0, "64": 1.0, "128": 1.0}}
    assert set(found.items) == {1.0}
    assert "wrong" not in task.samples(Rememberer())[0]  # type: ignore[arg-type]


def test_without_a_memory_it_is_a_guess() -> None:
    found = Tmaze().evaluate(Rememberer(carried=False), "test")  # type: ignore[arg-type]
    assert found.metrics["accuracy"] == pytest.approx(0.25, abs=0.12)
    assert "wrong" in Tmaze().samples(Rememberer(carried=False))[0]  # type: ignore[arg-type]


def test_segments_of_a_row_make_its_episodes() -> None:
    task = Tmaze(length=4, corridor=8, signs=3)
    rows, data = 5, task.segments(0, 40, rows=5)
    for row in range(rows):
        first, second = data[row], data[row + rows]
        assert (bool(first[BEGINS]), bool(second[BEGINS])) == (True, False)
        sign = int(first["input_ids"][0])
        assert sign < 3
        assert int(second["input_ids"][-1]) == task.junction
        assert bool((torch.cat([first["input_ids"][1:], second["input_ids"][:-1]]) > task.junction).all())
        assert first["labels"].tolist() == [-100, task.forward, -100, -100, -100]
        assert second["labels"].tolist() == [-100, task.forward, -100, -100, sign]
    episodes = {tuple(data[i]["input_ids"].tolist()) for i in range(40)}
    assert len(episodes) > 25
    assert torch.equal(task.segments(0, 40, rows=5)[7]["input_ids"], data[7]["input_ids"])
    assert not torch.equal(task.segments(1, 40, rows=5)[0]["input_ids"], data[0]["input_ids"])
    with pytest.raises(IndexError):
        data[40]


@pytest.mark.parametrize(
    "options", ["length=1", "corridor=16", "corridor=40", "signs=1", "signs=9999999", "length=2, corridor=4"]
)
def test_mazes_that_cannot_be(options: str) -> None:
    with pytest.raises(ValueError, match="tmaze"):
        parse(f"tmaze({options})")


def test_the_shortest_corridors_have_episodes_of_every_split() -> None:
    for signs in range(2, 9):
        task = Tmaze(length=2, corridor=8, signs=signs)
        for side in ("train", "validation", "test"):
            assert len(task.draw(random.Random(0), side, 4)) == 4


def test_text_and_base() -> None:
    task = parse("tmaze(corridor=96, signs=2)")
    assert parse(str(task)) == task
    assert str(task.base().memory) == "recurrent(length=96)"
    assert task.references() == {"chance": 0.5}


def test_arms_with_and_without_memory_train(tmp_path: Path) -> None:
    study = Study(
        task="tmaze(length=4, corridor=8)",  # type: ignore[arg-type]
        arms=(Arm("gated", {"residual": "gated"}), Arm("none", {"memory": "none", "residual": "gated"})),
        base={"width": 8, "depth": 1},
        budget=Budget(steps=4, batch_size=2, evaluations=1),
        folder=tmp_path / "study",
    )
    rows = run(study).rows
    assert [row.status for row in rows] == ["finished", "finished"], [row.cause for row in rows]
    assert rows[0].slices["corridor"].keys() == {"4", "8", "16"}


@pytest.mark.slow
def test_gates_learn_to_remember(tmp_path: Path) -> None:
    study = Study(
        task="tmaze",  # type: ignore[arg-type]
        arms=(Arm("gated", {"residual": "gated"}), Arm("none", {"memory": "none", "residual": "gated"})),
        budget=Budget(steps=400, batch_size=32, learning_rate=2e-3, evaluations=1),
        folder=tmp_path / "study",
    )
    gated, none = run(study).rows
    assert gated.metrics["accuracy"] > 0.9
    assert none.metrics["accuracy"] < 0.4


def test_it_is_checked_like_any_task() -> None:
    task = CheckedTask(Tmaze(length=4, corridor=8))
    data = task.build(0, 8, 2)
    assert [bool(data[i][BEGINS]) for i in range(8)] == [True, True, False, False] * 2
    assert task.data_hash == task.data_hash
