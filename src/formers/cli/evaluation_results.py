"""Results of evaluations, as they are written beside a model."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.cli.say import say

if TYPE_CHECKING:
    from formers.evaluation.text_model import TextModel


def evaluation_report(
    model: TextModel, name: str, mixer: str | None, found: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return what was found, and how to find it again."""
    from datetime import UTC, datetime

    from formers.machine.environment import environment, installed_version
    from formers.machine.shell import command_line

    return {
        "model": name,
        "mixer": mixer,
        **found,
        "settings": settings | {"length": model.length, "batch": model.batch},
        "environment": environment() | {"lm_eval": installed_version("lm_eval")},
        "command": command_line(["formers", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_report(report: dict[str, Any], path: Path, as_json: bool) -> None:
    """Write a report, and print it, if it is wanted as JSON."""
    text = json.dumps(report, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    if as_json:
        say(text)


def file_stem(what: str, mixer: str | None) -> str:
    """Return the name of a file of results, without its ending."""
    made = what[:150] + ("" if mixer is None else f"-{mixer[:60]}")
    return re.sub(r"[^\w+=.-]+", "-", made).strip("-")


def attention_name(mixer: str | None, layers: str | None) -> str | None:
    """Return what a model's attention is called in results: another mixer, and the layers that have it."""
    return mixer if mixer is None or layers is None else f"{mixer} in layers {layers}"
