"""`formers doctor`: what is installed, and whether it works."""

from __future__ import annotations

from typing import Any

import typer

from formers.cli.say import say


def doctor() -> None:
    """Show versions, device and extras, the forms of every op, and check that a small model runs.

    For each op: the forms that `impl=` takes here, in the order in which `auto` tries them on a CPU and on a GPU, and
    those that it took in the check. Exits with 1 if the check fails.
    """
    from formers.cli.self_check import CHECKED, self_check
    from formers.machine.environment import environment

    for name, value in environment().items():
        say(f"{name:<14}{value}")
    for line in _extra_lines():
        say(line)
    for line in _form_lines():
        say(line)
    chosen, failures = self_check()
    for line in chosen:
        say(f"auto          {line}")
    for mixer in CHECKED:
        say(f"check         {mixer}: {failures.get(mixer, 'ok')}")
    if failures:
        raise typer.Exit(1)


def _extra_lines() -> list[str]:
    """Return a line for each extra: whether what it needs is installed, and how to install it if not."""
    from formers.machine.extras import extras, missing

    found = extras()
    if not found:
        return ["extras        unknown: formers is not installed, only found on the path; pip install -e ."]
    lines = []
    for extra, needs in found.items():
        lacking = missing(needs)
        state = f"missing {', '.join(lacking)}: pip install 'formers[{extra}]'" if lacking else "installed"
        lines.append(f"extra         {extra}: {state}")
    return lines


def _form_lines() -> list[str]:
    """Return a line for each op: its forms on a CPU and on CUDA in the order of `auto`, and those on request only."""
    from formers.ops import forms_table

    by_op: dict[str, list[Any]] = {}
    for entry in forms_table():
        by_op.setdefault(entry.op, []).append(entry)
    return [f"op            {op}: {_forms_text(entries)}" for op, entries in by_op.items()]


def _forms_text(entries: list[Any]) -> str:
    devices = dict.fromkeys(device for entry in entries for device in entry.order)
    parts = []
    for device in devices:
        order = sorted((entry.order[device], entry.form) for entry in entries if device in entry.order)
        parts.append(f"{device} {', '.join(form for _, form in order)}")
    on_request = [entry.form for entry in entries if not entry.order]
    return "; ".join([*parts, *([f"on request {', '.join(on_request)}"] if on_request else [])])
