"""Turns are fair."""

from __future__ import annotations

import gc

import pytest

from formers.bench.measuring.timing import Call, Turns, seconds


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
    monkeypatch.setattr("formers.bench.measuring.timing.cpu_seconds", lambda run: 8.0)
    assert Turns({"a": Call(run=list, repeats=4)}).round() == {"a": 2.0}


def test_garbage_is_collected_again_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        seconds(lambda: 1 // 0)
    assert gc.isenabled()


def test_garbage_that_nobody_collects_stays() -> None:
    gc.disable()
    try:
        seconds(list)
        assert not gc.isenabled()
    finally:
        gc.enable()
