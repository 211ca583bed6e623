"""Parts, patterns and tasks as text and as JSON, and what a part that is taken computes."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import torch

from campaign import grammar, mutate
from campaign.grammar import AXIS_OF
from campaign.verdict import Nonsense, must_equal
from campaign.ways.way import way
from formers.lab.study.choices import choices_text, parse_choices
from formers.models import MaskedLM, TransformerConfig
from formers.part import Part, Unsupported, value_json
from formers.tasks import parse as parse_task
from formers.tasks.task import Task

_MOST_NUMBERS = 300_000
"""Parameters and buffers of a model that is built and run."""


def _text_of_a_part(rng: Random) -> tuple[str, str]:
    axis = rng.choice([name for name in AXIS_OF if name not in ("pattern", "task")])
    return axis, grammar.damaged_text(rng, axis)


def reads_back(part: Part) -> None:
    """Raise `Nonsense` unless a part's text and its JSON are read back as an equal part."""
    if isinstance(part, Task):  # is kept as text alone
        must_equal("its text", parse_task(str(part)), part)
        return
    must_equal("its text", part.axis.parse(str(part)), part)
    must_equal("its JSON", part.axis.from_json(json.loads(json.dumps(value_json(part)))), part)


@way("part texts", 200, _text_of_a_part)
def enter_part(case: tuple[str, str], folder: Path) -> None:
    axis, text = case
    reads_back(AXIS_OF[axis].parse(text))


@way("pattern texts", 90, lambda rng: grammar.damaged_text(rng, "pattern"))
def enter_pattern(text: str, folder: Path) -> None:
    pattern = AXIS_OF["pattern"].parse(text)
    reads_back(pattern)
    token = torch.arange(6)
    mask = pattern.resolve(length=6, causal=False).mask(token[:, None], token)
    if mask.dtype is not torch.bool or torch.broadcast_shapes(mask.shape, (6, 6)) != (6, 6):
        raise Nonsense(f"{pattern}: a mask of {mask.dtype} with shape {tuple(mask.shape)}")


@way("task texts", 80, lambda rng: rng.choice(("", "glue/cola", "t.py:")) * (rng.random() < 0.1) + _task_text(rng))
def enter_task(text: str, folder: Path) -> None:
    reads_back(parse_task(text))


def _task_text(rng: Random) -> str:
    return grammar.damaged_text(rng, "task")


def _json_of_a_part(rng: Random) -> tuple[str, object]:
    axis = rng.choice([name for name in AXIS_OF if name != "task"])
    return axis, mutate.a_tree(rng, value_json(grammar.sound_part(rng, axis)))


@way("part JSON", 60, _json_of_a_part)
def enter_json(case: tuple[str, object], folder: Path) -> None:
    axis, data = case
    reads_back(AXIS_OF[axis].from_json(data))


def _choices(rng: Random) -> str:
    names = rng.sample(["mixer", "position", "norm", "ffn", "residual"], rng.choice((1, 1, 2)))
    pieces = [f"{name}={grammar.part_text(rng, name)}" for name in names] + [
        f"depth={rng.choice(mutate.NUMBERS)}"[:420]
    ]
    return mutate.a_text(rng, ", ".join(pieces)) if rng.random() < 0.7 else ", ".join(pieces)


@way("choices", 60, _choices)
def enter_choices(text: str, folder: Path) -> None:
    read = parse_choices(text)
    must_equal("its text", parse_choices(choices_text(read)), read)


def _axis_and_text(rng: Random) -> tuple[str, str, bool]:
    axis = rng.choice(("mixer", "mixer", "position", "residual", "norm", "ffn"))
    return axis, grammar.part_text(rng, axis), rng.random() < 0.5


@way("parts at work", 50, _axis_and_text)
def enter_model(case: tuple[str, str, bool], folder: Path) -> None:
    """A part that is taken builds a model of finite outputs, or says why it does not."""
    axis, text, causal = case
    part = AXIS_OF[axis].parse(text)
    sizes = {"vocab_size": 11, "width": 16, "depth": 2, "heads": 2, "context_length": 32, "position": "none"}
    config = TransformerConfig(**{**sizes, axis: part})
    with torch.device("meta"):
        model = _model(config, causal)
    if sum(t.numel() for t in [*model.parameters(), *model.buffers()]) > _MOST_NUMBERS:
        return
    torch.manual_seed(0)
    model = _model(config, causal).eval()
    for length in (1, 5):
        logits = model(input_ids=torch.arange(2 * length).reshape(2, length) % 11).logits
        if not logits.isfinite().all() and "1e" not in text:  # 1e300 is what was asked for
            raise Nonsense(f"{axis}={part}: outputs are not finite at {length} tokens")


def _model(config: TransformerConfig, causal: bool) -> torch.nn.Module:
    from formers.models import CausalLM

    if not causal:
        return MaskedLM(config)
    try:
        return CausalLM(config)
    except Unsupported:
        return MaskedLM(config)
