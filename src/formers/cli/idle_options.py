"""Options that others make idle: a command refuses them instead of taking them without a word."""

from __future__ import annotations

from typing import Any

NEEDED: dict[str, dict[str, str]] = {
    "ablate": {"cores": "ray"},
    "adapt": {"examples": "task"},
    "repair": {"transfer_rate": "transfer", "tune_rate": "tune", "rank": "tune"},
}
"""Command → option → the one without which, or with 0 of which, it does nothing."""

EXCLUDED: dict[str, dict[str, tuple[str, ...]]] = {
    "adapt": {"task": ("text", "tokens", "row", "budget", "gguf")},
    "repair": {"plan": ("mixer", "layers")},
    "show": {"as_json": ("code", "png", "length")},
}
"""Command → option → those that do nothing beside it."""


def refuse_idle(context: Any) -> None:
    """Raise ValueError for an option on the command line that does nothing beside the others of a typer context."""
    command, values = context.command, context.params
    shown = {option.name: option.opts[0] for option in command.params}
    given = [name for name in values if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    for option, needed in NEEDED.get(command.name, {}).items():
        if option in given and not values[needed]:
            without = f"without {shown[needed]}" if values[needed] is None else f"with {shown[needed]} {values[needed]}"
            raise ValueError(f"{shown[option]} does nothing {without}; leave it out, or give {shown[needed]}")
    for option, idle in EXCLUDED.get(command.name, {}).items():
        if option in given and (found := [name for name in idle if name in given]):
            raise ValueError(f"{shown[found[0]]} does nothing with {shown[option]}; leave one of them out")
