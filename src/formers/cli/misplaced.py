"""Choices of a model that stand where the command does not take them: the error says where they go."""

from __future__ import annotations

from typing import Any

AXES = ("mixer", "position", "residual", "norm", "ffn", "memory", "computation")
"""The choices that are parts. Written down, so that an error does not wait for torch; a test compares them."""
PLACE = {"ablate": "--vary {axis}={value}", "train": "{axis}={value}, without dashes"}
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
        _, _, after = " ".join(words).partition(option)
        value = after.lstrip("= ").split(" ")[0] or "…"
        error.message += f"; write {PLACE[command].format(axis=axis, value=value)}"
    elif command == "ablate" and "unexpected extra argument" in (getattr(error, "message", None) or ""):
        if not any(word.partition("=")[0] in AXES for word in words):
            return
        error.message += "; a choice is given with --vary mixer=softmax,linear, or for every arm with --base"
    else:
        return
    error.possibilities = None  # options that are spelt alike would mislead
