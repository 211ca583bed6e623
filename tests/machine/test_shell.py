"""Commands that are shown: easy to read, and the same words for a shell."""

from __future__ import annotations

import shlex

from formers.ffn import Ffn
from formers.machine.shell import command_line


def test_text_in_parts_needs_no_quotes_of_quotes() -> None:
    line = command_line(["train", "glue(task='rte')", "ffn=mlp(activation='relu')", "mixer=['softmax', 'linear']"])
    assert line == """train 'glue(task="rte")' 'ffn=mlp(activation="relu")' 'mixer=["softmax", "linear"]'"""


def test_parts_read_back_equal() -> None:
    part = Ffn.parse("mlp(activation='relu', bias=False)")
    [_, word] = shlex.split(command_line(["--base", f"ffn={part}"]))
    assert Ffn.parse(word.removeprefix("ffn=")) == part


def test_other_quotes_stay() -> None:
    for word in ("my friend's task.py", 'say(text="it\'s")', "path='a\\'b'", "text(path=\"it='x'\")"):
        assert shlex.split(command_line([word])) == [word]


def test_names_of_arms_stay() -> None:
    line = command_line(["--arm", "performer(kind='relu'), depth=2: mixer=performer(kind='relu'), depth=2"])
    name, _, choices = shlex.split(line)[1].partition(": ")
    assert name == "performer(kind='relu'), depth=2"
    assert choices == 'mixer=performer(kind="relu"), depth=2'
