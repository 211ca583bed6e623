from __future__ import annotations

from pathlib import Path

import pytest

from formers.lab.train.crash_counter import FILE, RepeatedCrash, count_crashes


def crash_at(folder: Path, step: int) -> None:
    """Leave what a killed process leaves."""
    with count_crashes(folder) as current:
        current.record_step(step)
        left = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(left)


def crashes(folder: Path) -> tuple[int, ...]:
    with count_crashes(folder) as current:
        return current.crashes


def test_an_orderly_end_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), count_crashes(tmp_path):
        raise KeyboardInterrupt
    assert crashes(tmp_path) == ()


def test_crashes_are_counted(tmp_path: Path) -> None:
    crash_at(tmp_path, 7)
    crash_at(tmp_path, 9)
    assert crashes(tmp_path) == (7, 9)
    assert crashes(tmp_path) == ()


def test_crashing_at_the_same_step_is_given_up_once(tmp_path: Path) -> None:
    for step in (7, 9, 7, 7, 7):
        crash_at(tmp_path, step)
    with pytest.raises(RepeatedCrash, match="died 3 times in a row after step 7"):
        crashes(tmp_path)
    assert crashes(tmp_path) == ()


def test_progress_between_crashes_goes_on(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        crash_at(tmp_path, step)
    assert crashes(tmp_path) == (1, 2, 3, 4, 5)


def test_a_crash_before_any_progress_counts_where_the_attempt_began(tmp_path: Path) -> None:
    crash_at(tmp_path, 7)
    with count_crashes(tmp_path):
        left = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(left)
    assert crashes(tmp_path) == (7, 7)


def test_fewer_steps_leave_nothing_of_more(tmp_path: Path) -> None:
    crash_at(tmp_path, 1000)
    with count_crashes(tmp_path) as current:
        for step in (996, 1008, 5):
            current.record_step(step)
        left = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(left)
    assert crashes(tmp_path) == (1000, 5)


def test_a_file_that_was_cut_off_is_a_crash(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"dea')
    assert crashes(tmp_path) == (0,)
