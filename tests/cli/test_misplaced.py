"""A choice where the command does not take it: the error says where it goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from formers.catalogue import AXES as CATALOGUE_AXES
from formers.cli.misplaced import AXES

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ablate shakespeare --mixer linear", "No such option: --mixer; write --vary mixer=linear"),
        ("ablate shakespeare --position=alibi", "write --vary position=alibi"),
        ("ablate shakespeare mixer=softmax", "given with --vary mixer=softmax,linear"),
        ("train shakespeare --mixer linear", "write mixer=linear, without dashes"),
        ("train shakespeare --vary mixer=linear", "write mixer=linear, without --vary"),
        ("ablate shakespeare --mixer 'window(4) | sinks(4)'", "write --vary 'mixer=window(4) | sinks(4)'"),
        ("train shakespeare --mixer='window(4) | sinks(4)'", "write 'mixer=window(4) | sinks(4)', without dashes"),
        ("train shakespeare --mixer", "write mixer=…, without dashes"),
        ("train shakespeare --lengt 3", "(Possible options: "),
    ],
)
def test_the_error_says_where_a_choice_goes(command: Run, words: str, said: str) -> None:
    done = command(*shlex.split(words))
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_its_axes_are_those_of_models() -> None:
    assert set(AXES) == {*CATALOGUE_AXES} - {"feature"}
