"""What TAB offers."""

from __future__ import annotations

import os
from typing import Any

import pytest

from formers.cli import completion


@pytest.mark.parametrize(
    ("incomplete", "offered"),
    [
        ("mix", ["mixer="]),
        ("mixer=soft", ["mixer=softmax"]),
        ("mixer=softmax,lin", ["mixer=softmax,linear", "mixer=softmax,linformer"]),
        ("nothing=", []),
    ],
)
def test_alternatives_are_completed_one_after_the_other(incomplete: str, offered: list[str]) -> None:
    assert completion.choices(incomplete) == offered


def test_names_of_parts_tasks_and_axes() -> None:
    assert completion.part_names("rot") == ["rotary"]
    assert completion.task_names("sha") == ["shakespeare"]
    assert completion.axis_names("pos") == ["position"]


def test_a_shell_is_answered(python: Any) -> None:
    asked = {"_FORMERS_COMPLETE": "complete_bash", "COMP_WORDS": "formers show alib", "COMP_CWORD": "2"}
    program = "from formers.cli.app import app; app(prog_name='formers')"
    done = python.run("-c", program, env={**os.environ, **asked})
    assert done.out.split() == ["alibi"], done.err
