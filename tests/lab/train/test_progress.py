from __future__ import annotations

import io

import pytest
from rich.console import Console

from formers.lab import Row
from formers.lab.train.progress import Bars, Lines

DONE = Row(arm="a", seed=0, status="finished", metrics={"loss": 1.25}, train_seconds=3.0)
FAILED = Row(arm="b", seed=0, status="out_of_memory", cause="MemoryError")


def test_lines_tell_beginning_evaluations_and_end() -> None:
    out = io.StringIO()
    lines = Lines(Console(file=out, width=30))
    lines.begin("a", 10)
    lines.step("a", 1)
    lines.measured("a", 2, {"train_loss": 2.0})
    lines.measured("a", 5, {"loss": 1.5})
    lines.end(DONE, "a")
    lines.end(FAILED, "[b]")
    assert out.getvalue().splitlines() == [
        "a: 10 steps",
        "a: step 5/10, train loss 2.000, loss 1.500",
        "a: loss 1.250, 3 s of training",
        "[b]: out of memory: MemoryError",
    ]


def test_bars_show_every_arm() -> None:
    out = io.StringIO()
    with Bars(Console(file=out, width=120, force_terminal=True)) as bars:
        bars.end(DONE, "first")
        bars.begin("second", 10)
        bars.begin("third", 10)
        second = bars.running["second"]
        assert second.time_left() == ""
        bars.step("second", 4)
        bars.step("second", 6)
        bars.step("third", 1)
        bars.measured("second", 6, {"loss": 1.5})
        assert second.time_left().endswith("left")
        assert bars.running["third"].done == 1
        assert bars.table().row_count == 3
        bars.live.refresh()
    assert "third" in out.getvalue()
    assert "first" in out.getvalue()
    assert "second" in out.getvalue()


@pytest.mark.parametrize(("done", "waiting"), [(15, 0), (15, 3), (0, 30), (4, 2), (5, 3)])
def test_what_runs_is_shown_whatever_else_there_is(done: int, waiting: int) -> None:
    """A screen cuts what is too long for it at its end."""
    console = Console(file=io.StringIO(), width=40, height=10, force_terminal=True)
    with Bars(console) as bars:
        for k in range(done):
            bars.end(FAILED if k % 2 else DONE, f"done {k} with a name that is as long as the screen is wide")
        for k in range(waiting):
            bars.wait(f"waits {k}", "job 7_0, pending " * 3)
        for name in ("first", "second"):
            bars.begin(name, 10)
            bars.step(name, 5)
        drawn = console.render_lines(bars.table())
    lines = ["".join(piece.text for piece in line).rstrip() for line in drawn]
    assert len(lines) == min(10, done + waiting + 2)
    assert lines[0].startswith("first")
    assert lines[1].startswith("second")
    assert sum(line.startswith("waits") for line in lines) == min(waiting, 7 if done + waiting > 8 else 8)
    if done + waiting > 8:
        assert lines[-1].startswith(f"… {done + waiting + 2 - 9} more")
    elif done:
        assert lines[-1].startswith("done 0")


def test_labels_and_causes_are_shown_to_the_letter() -> None:
    label = "[/x] mixer=[softmax,linear] \x1b[31m\x9b\u202e"
    shown = "[/x] mixer=[softmax,linear] ␛[31m[U+009B][U+202E]"
    failed = Row(arm="b", seed=0, status="failed", cause="ValueError: [/bold]\x1b]0;x\x07")
    out = io.StringIO()
    with Bars(Console(file=io.StringIO(), width=200, force_terminal=True)) as bars:
        bars.begin(label, 10)
        bars.end(failed, "[red]")
        bars.note(label)
        Console(file=out, width=200).print(bars.table())
    assert shown in out.getvalue()
    assert "[red] failed failed: ValueError: [/bold]␛]0;x␇" in " ".join(out.getvalue().split())
    lines = Lines(Console(file=(plain := io.StringIO()), width=200))
    lines.begin(label, 10)
    lines.note(label)
    assert plain.getvalue() == f"{shown}: 10 steps\n{shown}\n"


def test_what_arrives_after_the_end_is_not_shown() -> None:
    lines = Lines(Console(file=(out := io.StringIO())))
    bars = Bars(Console(file=io.StringIO()))
    for listener in (lines, bars):
        listener.begin("a", 10)
        listener.end(DONE, "a")
        listener.step("a", 5)
        listener.measured("a", 5, {"loss": 1.5})
    assert "step 5" not in out.getvalue()
    assert bars.table().row_count == 1
