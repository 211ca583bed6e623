"""Results of evaluations, as they are written beside a model."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.cli.say import say

if TYPE_CHECKING:
    from formers.evaluation.text_model import TextModel

_LONGEST = 150
"""Characters of a file's name before its checksum."""


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
        "environment": environment(model.model.device) | {"lm_eval": installed_version("lm_eval")},
        "command": command_line(["formers", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_report(report: dict[str, Any], path: Path, as_json: bool) -> None:
    """Write a report, whole or not at all, and print it, if it is wanted as JSON. Raise WriteError where it fails."""
    from formers.lab.store.write_error import reporting_write_errors
    from formers.machine.files import write_atomically

    text = json.dumps(report, indent=1, ensure_ascii=False)
    with reporting_write_errors("the results", path):
        write_atomically(path, text + "\n", flush=True)
    if as_json:
        say(text)


def file_stem(what: str, command: Callable[..., None], **chosen: object) -> str:
    """Return the name of a file of results, without its ending: what was asked, and each option that is no default.

    `command` is the function whose defaults these are. Of a path its name is shown. A checksum of the exact values is
    added where a name does not show them whole, so that no results have the name of others.
    """
    defaults = inspect.signature(command).parameters
    given = {name: value for name, value in chosen.items() if value != defaults[name].default}
    shown = "-".join([what, *(_shown(name, value) for name, value in given.items())])
    exact = "-".join([what, *(_shown(name, _exact(value)) for name, value in given.items())])
    stem = re.sub(r"[^\w+=.-]+", "-", shown, flags=re.ASCII).strip("-")[:_LONGEST]
    checksum = hashlib.sha256(exact.encode()).hexdigest()[:6]
    return stem if stem == exact else f"{stem}-{checksum}".strip("-")


def model_in_name(model: str, folder: Path | None) -> dict[str, Path]:
    """Return the model as an option for a file's name, where results of several models may share the folder given."""
    return {} if folder is None else {"model": Path(model).expanduser()}


def _shown(name: str, value: object) -> str:
    """Return an option and its value as a piece of a name, as in `shots5` and `precision-bf16`."""
    if isinstance(value, (list, tuple)):
        return f"{name}-{'+'.join(_shown('', one).strip('-') for one in value)}"
    text = value.name if isinstance(value, Path) else str(value).replace(",", "+")
    return f"{name}{value}" if isinstance(value, int) else f"{name}-{text}"


def _exact(value: object) -> object:
    """Return a value with its paths whole."""
    if isinstance(value, (list, tuple)):
        return [_exact(one) for one in value]
    return os.path.abspath(value) if isinstance(value, Path) else value


def attention_name(mixer: str | None, layers: str | None) -> str | None:
    """Return what a model's attention is called in results: another mixer, and the layers that have it."""
    return mixer if mixer is None or layers is None else f"{mixer} in layers {layers}"
