"""Contiguous segments: what follows what, and that every token is predicted once, with the memory that it has."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from formers.memory import NoMemory
from formers.models import CausalLM, StateCache
from formers.part import Unsupported
from formers.tasks import Shakespeare, parse
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.segments import Segments, mean_nats_in_segments


def segments(**options: Any) -> Segments:
    return Segments(torch.arange(1000), 16, **{"rows": 4, "stream": "s/0", "count": 200} | options)


def test_rows_go_on_where_they_stopped() -> None:
    data, rows = segments(), 4
    assert data.strip == 15
    for index in range(rows, 200):
        here, before = data[index], data[index - rows]
        if here["begins"]:
            assert (index // rows) % 15 == 0
        else:
            assert here["input_ids"][0] == before["input_ids"][-1] + 1 == before["labels"][-1]
        assert here["labels"][:-1].equal(here["input_ids"])
    around = torch.cat([data[i]["input_ids"] for i in range(60)])
    assert len(around.unique()) == 60 * 16  # no two rows read the same


def test_each_time_around_begins_elsewhere() -> None:
    starts = {int(segments(count=3000)[60 * around]["input_ids"][0]) for around in range(20)}
    assert len(starts) > 5
    assert max(starts) < 16


def test_an_example_depends_on_the_seed_the_rows_and_the_index_only() -> None:
    task = Shakespeare(length=32, contiguous=True)
    short, long, other = task.segments(3, 10, 4), task.segments(3, 1000, 4), task.segments(4, 10, 4)
    assert all(short[i]["labels"].equal(long[i]["labels"]) for i in (9, 0, 5))
    assert not short[0]["labels"].equal(other[0]["labels"])
    assert task.build(3, 10)[1]["input_ids"][0] == task.build(3, 10)[0]["labels"][-1]
    with pytest.raises(IndexError):
        short[10]


def test_a_text_without_a_strip_for_each_row_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1,000 tokens has no strip of a segment of 16 for each of 62 rows"):
        segments(rows=62)
    assert segments(rows=61).strip == 1


def test_tasks_of_before_are_written_as_they_were() -> None:
    assert str(Shakespeare()) == "shakespeare()"
    assert Shakespeare().to_json() == {"part": "shakespeare", "length": 64, "path": None}
    assert parse("shakespeare(contiguous=True)").is_contiguous
    assert not Shakespeare().is_contiguous


class Recorder(nn.Module):
    """A model that finds every symbol equally likely, and keeps what it is asked, and with which memory."""

    device = torch.device("cpu")

    def __init__(self, carried: bool) -> None:
        super().__init__()
        self.config = SimpleNamespace(memory=SimpleNamespace(carried=carried))
        self.calls: list[tuple[Tensor, Any]] = []

    def forward(self, input_ids: Tensor, past_key_values: Any = None) -> SimpleNamespace:
        self.calls.append((input_ids, past_key_values))
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 1009))


@pytest.mark.parametrize("count", [5, 17, 300, 1000, 1003])
@pytest.mark.parametrize("carried", [True, False])
def test_every_token_but_the_first_is_predicted_once(count: int, carried: bool) -> None:
    model = Recorder(carried)
    assert mean_nats_in_segments(model, torch.arange(count), 16) == pytest.approx(math.log(1009))  # type: ignore[arg-type]
    asked = torch.cat([ids.flatten() for ids, _ in model.calls])
    assert asked.sort().values.equal(torch.arange(count - 1))  # each token but the last predicts the next one
    caches = {id(cache) for _, cache in model.calls}
    assert len(caches) == 1
    assert (model.calls[0][1] is None) == (not carried)


def test_evaluation_has_the_memory_of_its_strip() -> None:
    """The mean over a text of one strip is that of its segments one after the other."""
    torch.manual_seed(0)
    task = Shakespeare(length=16, contiguous=True)
    config = task.base().swap(width=16, depth=2, heads=2, position="xl", memory="recurrent(length=24)")
    model = CausalLM(config).eval()
    ids = task.text.test[:200]
    cache, total = StateCache(), 0.0
    with torch.no_grad():
        for start in range(0, 199, 16):
            inputs, targets = ids[None, start : start + 16][:, : 199 - start], ids[start + 1 : start + 17]
            logits = model(inputs, past_key_values=cache).logits[0]
            total += float(nn.functional.cross_entropy(logits, targets, reduction="sum"))
    assert mean_nats_in_segments(model, ids, 16) == pytest.approx(total / 199, rel=1e-6)
    model.config.memory = NoMemory()
    assert abs(mean_nats_in_segments(model, ids, 16) - total / 199) > 1e-4


def test_a_memory_needs_segments_that_follow_each_other() -> None:
    config = Shakespeare().base().swap(memory="recurrent(length=24)")
    with pytest.raises(Unsupported, match=r"recurrent\(length=24\).*shakespeare\(\) do not follow.*contiguous=True"):
        CheckedTask(Shakespeare()).check_config(config)
    CheckedTask(Shakespeare(contiguous=True)).check_config(config)
    CheckedTask(Shakespeare()).check_config(config.swap(memory="none"))


def test_a_text_can_be_tested_in_other_segments(tmp_path: Path) -> None:
    assert Shakespeare(contiguous=True).at_length(128) == Shakespeare(length=128, contiguous=True)
