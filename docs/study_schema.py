"""The reference of study files, and a JSON Schema of them for editors, both from the code that reads them."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields
from typing import Any, get_args

from formers.catalogue import AXES, members
from formers.lab.study import study, yaml
from formers.lab.study.budget import Budget
from formers.lab.study.budget_size import BUDGET_SIZES
from formers.lab.study.compute import Compute, Device, Precision
from formers.lab.study.cost_limits import COST_OF
from formers.lab.study.search_space import SearchSpace
from formers.lab.study.slurm_resources import SlurmResources
from formers.lab.study.study import Study
from formers.models import TransformerConfig
from formers.tasks import TASKS

NAME = "study.schema.json"
_NUMBER_OR_LIST = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}
_SEEDS = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer"}}]}
_SEARCHED = {"anyOf": [{"type": "string"}, {"type": "array"}]}
_PARTS = (
    "Python files with parts of your own (see own-parts.md), which are run: paths from here, or from the study's file."
)
_VARY = "One arm for each combination of the alternatives: a choice, such as mixer, and a list of its values."


def schema() -> str:
    """Return the JSON Schema of a study file."""
    docs = _docs()
    properties = {
        name: {"description": docs.get(name, _VARY if name == "vary" else ""), **_type_of(name)} for name in yaml._KEYS
    }
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of formers",
        "type": "object",
        "required": ["task"],
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _docs() -> dict[str, str]:
    """Return key → its meaning; those of `Compute` and of a larger search are keys of their own."""
    of_space = attribute_docs(SearchSpace)
    return attribute_docs(Study) | attribute_docs(Compute) | of_space | {"search": of_space["options"], "parts": _PARTS}


def _type_of(name: str) -> dict[str, Any]:
    """Return what a key of a study file may hold."""
    choices = {"anyOf": [{"type": "string"}, {"type": "object", "properties": _choices()}]}
    lists = {axis: {"type": "array", "items": values} for axis, values in _choices().items()}
    types: dict[str, dict[str, Any]] = {
        "task": {"type": "string", "examples": [task.name() for task in TASKS]},
        "parts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "vary": {"type": "object", "properties": lists},
        "arms": {"anyOf": [{"type": "object", "additionalProperties": choices}, {"type": "array"}]},
        "base": choices,
        "budget": {
            "anyOf": [
                {"enum": list(BUDGET_SIZES)},
                {"type": "object", "additionalProperties": False, "properties": _budget()},
            ]
        },
        "match": {"enum": list(study._MATCHES)},
        "seeds": _SEEDS,
        "search_seeds": _SEEDS,
        "search": {"type": "object", "additionalProperties": _SEARCHED},
        "under": {
            "anyOf": [
                {"type": "string", "examples": ["parameters=200k", "state=64KiB", "latency=5ms"]},
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "propertyNames": {"enum": list(COST_OF)}},
            ]
        },
        "trials": {"type": "integer", "minimum": 1, "default": SearchSpace.trials},
        "front": {"type": "integer", "minimum": 1, "default": SearchSpace.front},
        "together": {"type": "integer", "minimum": 1, "default": SearchSpace.together},
        "eval_lengths": {"anyOf": [{"type": "string"}, {"type": "array"}]},
        "device": {"enum": list(get_args(Device))},
        "precision": {"enum": list(get_args(Precision))},
        "compile": {"type": "boolean"},
        "accumulate": {"type": "integer", "minimum": 1},
        "checkpointing": {"type": "boolean"},
        "shard": {"type": "boolean"},
        "slurm": _slurm(),
        "folder": {"type": "string"},
        "directory": {"type": "string"},
    }
    return types.get(name, {})


def _slurm() -> dict[str, Any]:
    """Return what `slurm` may hold: a text, or a mapping of the options of a job."""
    docs = attribute_docs(SlurmResources)
    types: dict[str, Any] = {"int": {"type": "integer"}, "str": {"type": "string"}}
    lines = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    options = {
        field.name: {"description": docs[field.name], **types.get(str(field.type), lines)}
        for field in fields(SlurmResources)
    }
    mapping = {"type": "object", "additionalProperties": False, "properties": options}
    return {"anyOf": [{"type": "string"}, {"type": "boolean"}, mapping]}


def _choices() -> dict[str, Any]:
    """Return the choices of a configuration: parts by axis, with their names as examples, and plain options."""
    parts = {axis: {"examples": [kind.name() for kind in members(base)]} for axis, base in AXES.items()}
    return {name: parts.get(name, {}) for name in TransformerConfig.own_names()}


def _budget() -> dict[str, Any]:
    docs = attribute_docs(Budget)
    return {
        field.name: {"description": docs.get(field.name, ""), "default": field.default, **_NUMBER_OR_LIST}
        if field.type in ("int", "float")
        else {"description": docs.get(field.name, "")}
        for field in fields(Budget)
    }


def page() -> str:
    """Return the reference of study files."""
    example = inspect.cleandoc((yaml.__doc__ or "").partition("\n\n")[2]).rpartition("\n\n")[0]
    last = (yaml.__doc__ or "").strip().rpartition("\n\n")[2]
    docs = _docs()
    lines = [
        "# Study files",
        "",
        "Made by `docs/generate.py` from the code. A study is a YAML file; `formers ablate study.yaml` runs it,",
    ]
    lines += [
        "and every study leaves one in its folder.",
        "",
        "```yaml",
        inspect.cleandoc(example),
        "```",
        "",
        last,
        "",
    ]
    lines += [f"[{NAME}]({NAME}) is a JSON Schema for editors: begin a file with", "", "```yaml"]
    lines += [f"# yaml-language-server: $schema=path/to/{NAME}", "```", "", "| key | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(docs.get(name, _VARY if name == 'vary' else ''))} |" for name in yaml._KEYS]
    lines += ["", "## Budget", "", "| key | default | meaning |", "|---|--:|---|"]
    budget = attribute_docs(Budget)
    lines += [f"| `{field.name}` | {field.default} | {_cell(budget.get(field.name, ''))} |" for field in fields(Budget)]
    lines += ["", *_slurm_table(), *_sizes()]
    return "\n".join(lines) + "\n"


def _slurm_table() -> list[str]:
    """Return the options of a job of a Slurm cluster."""
    docs = attribute_docs(SlurmResources)
    shown = {field.name: f"`{field.default}`" for field in fields(SlurmResources) if field.default not in ("", ())}
    return [
        "## Slurm",
        "",
        "`slurm: {partition: gpu, gpus: 1, time: 4h}` in a file, `--slurm 'partition=gpu, gpus=1, time=4h'` on the",
        "command line, which changes the file's; `auto` for all defaults, `off` to train here: [how](scaling.md).",
        "",
        "| option | default | meaning |",
        "|---|---|---|",
        *(f"| `{f.name}` | {shown.get(f.name, '')} | {_cell(docs[f.name])} |" for f in fields(SlurmResources)),
        "",
    ]


def _sizes() -> list[str]:
    """Return the budgets by size: what each shows, and what it is for each task."""
    lines = [
        "## Budgets by size",
        "",
        "`budget: medium` in a file, `--budget medium` on the command line; other options change it.",
        "",
        "| size | it shows | seeds | learning rates | steps |",
        "|---|---|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {_cell(size.shows)} | {size.seeds} | {max(1, len(size.rates))} | {size.times} × the default |"
        for name, size in BUDGET_SIZES.items()
    ]
    lines += [
        "",
        f"| task | {' | '.join(f'steps, {name}' for name in BUDGET_SIZES)} |",
        "|---|" + "--:|" * len(BUDGET_SIZES),
    ]
    for task in TASKS:
        steps = int({"steps": Budget.steps, **task.budget}["steps"])
        lines.append(f"| `{task.name()}` | {' | '.join(f'{steps * size.times:,}' for size in BUDGET_SIZES.values())} |")
    return lines


def attribute_docs(kind: type) -> dict[str, str]:
    """Return attribute → its meaning, from the section `Attributes:` of a class's docstring."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section, re.M | re.S)
    return {name: _sentence(" ".join(meaning.split())) for name, meaning in found}


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
