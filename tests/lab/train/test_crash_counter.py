from __future__ import annotations

from pathlib import Path

import pytest

from formers.lab.train.crash_counter import FILE, Died, attempt


def die_at(folder: Path, step: int) -> None:
    """What a killed process leaves behind."""
    with attempt(folder) as current:
        current.reached(step)
        left = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(left)


def deaths(folder: Path) -> tuple[int, ...]:
    with attempt(folder) as current:
        return current.deaths


def test_an_orderly_end_is_no_death(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), attempt(tmp_path):
        raise KeyboardInterrupt
    assert deaths(tmp_path) == ()


def test_deaths_are_counted(tmp_path: Path) -> None:
    die_at(tmp_path, 7)
    die_at(tmp_path, 9)
    assert deaths(tmp_path) == (7, 9)
    assert deaths(tmp_path) == ()


def test_dying_at_the_same_step_is_given_up_once(tmp_path: Path) -> None:
    for step in (7, 9, 7, 7, 7):
        die_at(tmp_path, step)
    with pytest.raises(Died, match="died 3 times in a row after step 7"):
        deaths(tmp_path)
    assert deaths(tmp_path) == ()


def test_progress_between_deaths_goes_on(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        die_at(tmp_path, step)
    assert deaths(tmp_path) == (1, 2, 3, 4, 5)


def test_a_death_before_any_progress_counts_where_the_attempt_began(tmp_path: Path) -> None:
    die_at(tmp_path, 7)
    with attempt(tmp_path):
        left = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(left)
    assert deaths(tmp_path) == (7, 7)


def test_fewer_steps_leave_nothing_of_more(tmp_path: Path) -> None:
    die_at(tmp_path, 1000)
    with attempt(tmp_path) as current:
        for step in (996, 1008, 5):
            current.reached(step)
        left = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(left)
    assert deaths(tmp_path) == (1000, 5)


def test_a_file_that_was_cut_off_is_a_death(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"dea')
    assert deaths(tmp_path) == (0,)
