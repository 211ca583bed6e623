"""Errors as messages quote them: one line, which is the first of theirs."""

from __future__ import annotations


def first_line_of(error: BaseException) -> str:
    """Return the first line of an error's message; empty where it has none."""
    return (str(error).strip().splitlines() or [""])[0]


def one_line_of(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {first_line_of(error)}".removesuffix(": ")
