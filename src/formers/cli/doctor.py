"""`formers doctor`: what is installed, and whether it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from formers.cli.say import say


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
) -> None:
    """Show what is installed and which kernels run here. Versions, device, extras, the forms of every op, and a check
    that parts run.

    For each op: the forms that `impl=` takes here, in the order in which `auto` tries them on a CPU and on a GPU, and
    those that it took in the check. Exits with 1 if the check fails.
    """
    found: dict[str, Any] = {}
    for heading, section in _sections():
        found[heading] = section
        if not as_json:
            for line in _LINES[heading](section):
                say(line)
    if as_json:
        say(json.dumps(found, indent=1))
    if any(result != "ok" for result in found["check"].values()):
        raise typer.Exit(1)


def _sections() -> Iterator[tuple[str, Any]]:
    """Yield heading and findings, those first that take no time: torch is loaded by the third."""
    from formers.machine.environment import hardware, software
    from formers.machine.extras import extras, missing

    yield "software", software()
    yield "extra", {extra: missing(needs) for extra, needs in extras().items()}
    yield "hardware", hardware("auto")
    yield "op", _forms()

    from formers.cli.self_check import CHECKED, self_check

    chosen, failures = self_check()
    yield "auto", chosen
    yield "check", {mixer: failures.get(mixer, "ok") for mixer in CHECKED}


def _forms() -> dict[str, dict[str, list[str]]]:
    """Return op → device → its forms there in the order of `auto`; those on request only under `on request`."""
    from formers.ops import forms_table

    entries = forms_table()
    forms: dict[str, dict[str, list[str]]] = {}
    for entry in sorted(entries, key=lambda entry: entry.op):
        forms.setdefault(entry.op, {})
    for op, by_device in forms.items():
        own = [entry for entry in entries if entry.op == op]
        for device in dict.fromkeys(device for entry in own for device in entry.order):
            order = sorted((entry.order[device], entry.form) for entry in own if device in entry.order)
            by_device[device] = [form for _, form in order]
        if on_request := [entry.form for entry in own if not entry.order]:
            by_device["on request"] = on_request
    return forms


def _extra_lines(found: dict[str, list[str]]) -> list[str]:
    """Return a line for each extra: whether what it needs is installed, and how to install it if not."""
    if not found:
        return ["extras        unknown: formers is not installed, only found on the path; pip install -e ."]
    lines = []
    for extra, lacking in found.items():
        state = f"missing {', '.join(lacking)}: pip install 'formers[{extra}]'" if lacking else "installed"
        lines.append(f"extra         {extra}: {state}")
    return lines


def _form_lines(found: dict[str, dict[str, list[str]]]) -> list[str]:
    return [
        f"op            {op}: " + "; ".join(f"{device} {', '.join(forms)}" for device, forms in by_device.items())
        for op, by_device in found.items()
    ]


def _fact_lines(found: dict[str, str]) -> list[str]:
    return [f"{name:<14}{value}" for name, value in found.items()]


_LINES: dict[str, Any] = {
    "software": _fact_lines,
    "extra": _extra_lines,
    "hardware": _fact_lines,
    "op": _form_lines,
    "auto": lambda found: [f"auto          {line}" for line in found],
    "check": lambda found: [f"check         {mixer}: {result}" for mixer, result in found.items()],
}
"""Heading → its findings as lines of text."""
