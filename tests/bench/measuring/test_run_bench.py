"""Whatever cannot be timed is a measurement with a cause: broken laws, too little memory, an interrupt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from formers.bench.measuring.run_bench import run_bench
from formers.bench.phases import PHASES
from formers.bench.plan import BenchPlan
from formers.bench.progress import SilentBenchProgress
from formers.bench.results import BenchResults, Measurement
from formers.bench.sizes import Sweep
from formers.bench.subjects.mixer import MixerSubject
from formers.bench.summarize import summarize

Small = Callable[..., BenchPlan]


def rows_of(bench: BenchResults, subject: str) -> list[Measurement]:
    return [row for row in bench.rows if row.subject == subject]


def test_a_part_that_looks_into_the_future_is_not_timed(small: Small, peeking: MixerSubject) -> None:
    bench = run_bench(small("identity", peeking, phases=("forward",)))
    [row] = rows_of(bench, peeking.name)
    assert (row.status, row.seconds) == ("refused", ())
    assert "cannot_see_the_future: " in row.cause
    assert "10,000 times larger" in row.cause
    assert [row.status for row in rows_of(bench, "identity")] == ["measured"] * 3


@pytest.mark.usefixtures("lawful")
def test_every_phase_of_everything_is_measured(small: Small) -> None:
    bench = run_bench(small("identity", "softmax", "linear", "sdpa"))
    for name in ("softmax", "linear"):
        assert {(row.phase, row.length) for row in rows_of(bench, name)} == {
            (p, n) for p in PHASES for n in (8, 16, 32)
        }
    for row in bench.measured:
        assert len(row.seconds) == len(row.yardstick) == 3
        assert min(row.seconds) > 0
        assert row.peak_bytes is not None
    [lacking] = [row for row in rows_of(bench, "sdpa") if row.status == "unsupported"]
    assert (lacking.phase, lacking.length) == ("prefill", None)


@pytest.mark.usefixtures("lawful")
def test_costs_that_are_known(small: Small) -> None:
    bench = run_bench(small("softmax", "sdpa"))
    found = {(row.subject, row.phase, row.length): row for row in bench.measured}
    width, length = 8, 32
    projections = 4 * 2 * length * width * width
    assert found["sdpa", "forward", length].flops == 4 * length * length * width
    assert found["softmax", "forward", length].flops == projections + 4 * length * length * width
    assert found["softmax", "training", length].flops == 3 * (projections + 4 * length * length * width)
    assert found["sdpa", "step", length].flops == 4 * length * width
    assert (
        found["softmax", "step", length].peak_bytes or 0
    ) < 4 * 2 * length * width * 4  # the cache is written on, not copied
    keys_and_values, seen = 2 * length * width * 4, 8
    assert found["softmax", "step", length].state_bytes == keys_and_values + seen


@pytest.mark.usefixtures("lawful")
def test_out_of_memory_is_a_row(small: Small, hungry: MixerSubject) -> None:
    bench = run_bench(small("identity", hungry, phases=("forward",)))
    first, second, third = rows_of(bench, hungry.name)
    assert (first.status, second.status, third.status) == ("measured", "out_of_memory", "out_of_memory")
    assert "can't allocate memory" in second.cause
    assert third.cause == "not tried: length 16 did not fit"
    assert [row.status for row in rows_of(bench, "identity")] == ["measured"] * 3


@pytest.mark.usefixtures("lawful")
def test_what_fails_between_rounds_is_a_row_and_the_others_go_on(small: Small, breaking: MixerSubject) -> None:
    bench = run_bench(
        small("identity", breaking, phases=("forward",), sweep=Sweep(length=(8,), width=(8,), heads=(2,)), rounds=9)
    )
    [row] = rows_of(bench, breaking.name)
    assert (row.status, row.cause, row.seconds) == ("failed", "ArithmeticError: worn out", ())
    assert [len(row.seconds) for row in rows_of(bench, "identity")] == [9]


class Interrupting(SilentBenchProgress):
    """Ctrl-C at a step, or at a stage."""

    def __init__(self, step: int = 0, stage: int = 0) -> None:
        self.steps, self.stages, self.at = 0, 0, (step, stage)

    def step(self, text: str) -> None:
        self.steps += 1
        if self.steps == self.at[0]:
            raise KeyboardInterrupt

    def stage(self, text: str) -> None:
        self.stages += 1
        if self.stages == self.at[1]:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("lawful")
def test_an_interrupt_keeps_the_rounds_that_were_made(small: Small) -> None:
    bench = run_bench(small("identity", "pool", phases=("forward",)), Interrupting(step=6))
    assert bench.stopped
    assert sorted(len(row.seconds) for row in bench.measured) == [1, 1, 2, 2, 2, 2]
    assert summarize(bench).curves["forward"]


@pytest.mark.usefixtures("lawful")
def test_an_interrupt_before_the_first_round_keeps_what_is_known(small: Small) -> None:
    bench = run_bench(small("identity", "pool", phases=("forward",)), Interrupting(stage=6))
    assert bench.stopped
    assert {row.status for row in bench.rows} == {"stopped"}
    assert all(row.peak_bytes for row in bench.rows)


@pytest.mark.usefixtures("lawful")
def test_time_is_limited_but_three_rounds_are_made(small: Small) -> None:
    bench = run_bench(small("identity", phases=("forward",), rounds=50, seconds=0.0))
    assert {len(row.seconds) for row in bench.measured} == {3}


@pytest.mark.usefixtures("lawful")
def test_weights_and_inputs_are_of_the_dtype_that_is_asked_for(small: Small) -> None:
    half, wide = (run_bench(small("softmax", "sdpa", dtype=dtype)) for dtype in ("bfloat16", "float32"))
    assert all(row.status == "measured" for row in rows_of(half, "softmax"))
    assert half.environment["dtype"] == "bfloat16"
    assert "--dtype bfloat16" in half.command
    states = [
        [row.state_bytes for row in rows_of(bench, "softmax") if row.phase == "prefill"] for bench in (half, wide)
    ]
    counts = 8  # bytes of the number of tokens
    assert [2 * (size - counts) for size in states[0] if size] == [size - counts for size in states[1] if size]
    assert torch.get_default_dtype() == torch.float32
