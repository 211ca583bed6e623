"""Turns are fair; memory is counted, and limited."""

from __future__ import annotations

import gc

import pytest
import torch

from formers.bench.memory import memory_limit, peak_bytes
from formers.bench.timing import Call, Turns, seconds


def test_every_call_has_its_turn_in_changing_order() -> None:
    log: list[str] = []
    turns = Turns({name: Call(run=lambda name=name: log.append(name)) for name in "abcd"}, seed=1, short=0.0)
    rounds = [turns.round() for _ in range(20)]
    orders = [tuple(log[i : i + 4]) for i in range(0, 80, 4)]
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 5
    assert all(list(taken) == list("abcd") for taken in rounds)
    assert all(value >= 0 for taken in rounds for value in taken.values())


def test_a_short_call_warms_up_and_each_run_is_prepared() -> None:
    log: list[str] = []
    turns = Turns({"a": Call(run=lambda: log.append("run"), prepare=lambda: log.append("prepare"), repeats=4)})
    turns.round()
    assert log == ["prepare", "run", "prepare", "run"]


def test_repeats_divide_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formers.bench.timing.cpu_seconds", lambda run: 8.0)
    assert Turns({"a": Call(run=list, repeats=4)}).round() == {"a": 2.0}


def test_garbage_is_collected_again_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        seconds(lambda: 1 // 0)
    assert gc.isenabled()


def test_peak_bytes_counts_what_is_alive_at_once() -> None:
    def run() -> None:
        first = torch.ones(1000)  # 4,000 bytes
        second = first + 1  # 4,000 more
        del first
        third = second + 1
        del second, third

    run()
    assert 8000 <= peak_bytes(run) < 8100  # the 1 that is added is a tensor, too


def test_beyond_the_limit_an_allocation_raises() -> None:
    with memory_limit(64 * 2**20):
        torch.ones(2**20)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            torch.ones(2**28)
    assert torch.ones(2**25).sum() == 2**25
