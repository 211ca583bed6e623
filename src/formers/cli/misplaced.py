"""Choices of a model that stand where the command does not take them: the error says where they go."""

from __future__ import annotations

from typing import Any

from formers.machine.shell import command_line

AXES = ("mixer", "position", "residual", "norm", "ffn", "memory", "computation")
"""The choices that are parts. Written down, so that an error does not wait for torch; a test compares them."""
PLACE = {"ablate": "--vary {choice}", "train": "{choice}, without dashes"}
"""Command → how it takes a choice."""


def say_place(error: Any, command: str, words: list[str]) -> None:
    """Add to an error of the parser where a choice belongs, if the words of a command line have one elsewhere."""
    option = getattr(error, "option_name", "")
    axis = option.lstrip("-")
    if command == "train" and option == "--vary":
        error.message += (
            "; one model is trained: write mixer=linear, without --vary, or compare several: formers ablate"
        )
    elif command in PLACE and axis in AXES:
        value = _given(option, words)
        choice = command_line([f"{axis}={value}"]) if value else f"{axis}=…"
        error.message += f"; write {PLACE[command].format(choice=choice)}"
    elif command == "ablate" and "unexpected extra argument" in (getattr(error, "message", None) or ""):
        if not any(word.partition("=")[0] in AXES for word in words):
            return
        error.message += "; a choice is given with --vary mixer=softmax,linear, or for every arm with --base"
    else:
        return
    error.possibilities = None  # options that are spelt alike would mislead


def _given(option: str, words: list[str]) -> str:
    """Return what an option is given in a command line: all of it, where it has spaces; nothing where there is none."""
    place = next(i for i, word in enumerate(words) if word.partition("=")[0] == option)
    _, sign, value = words[place].partition("=")
    return value if sign else "".join(words[place + 1 : place + 2])
