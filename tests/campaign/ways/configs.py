"""Configurations and budgets: in Python, and as the config.json of a model."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import torch

from campaign import grammar, mutate
from campaign.verdict import Nonsense, must_equal
from campaign.ways.way import way
from formers.lab import Arm, Budget, Study, read_study, write_study
from formers.models import CausalLM, SequenceClassifier, TransformerConfig
from formers.part import value_json

_SOUND: dict[str, Any] = {
    "vocab_size": 50,
    "width": 32,
    "depth": 2,
    "heads": 4,
    "context_length": 64,
    "dropout": 0.1,
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
    "causal": None,
    "pad_token_id": 0,
    "num_labels": 3,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "use_cache": True,
    "problem_type": None,
    "id2label": None,
    "output_hidden_states": False,
    "output_attentions": False,
    "dtype": "float32",
}
_SIZES = ("vocab_size", "width", "depth", "heads", "context_length", "num_labels")


def _options(rng: Random) -> dict[str, Any]:
    options = {name: value for name, value in _SOUND.items() if rng.random() < 0.4}
    for axis in ("mixer", "position", "residual", "norm", "ffn"):
        if rng.random() < 0.3:
            options[axis] = rng.choice((grammar.part_text(rng, axis), value_json(grammar.sound_part(rng, axis))))
    options = mutate.a_tree(rng, options) if rng.random() < 0.7 else options
    return options if isinstance(options, dict) else {"mixer": options}


@way("configurations", 90, _options)
def enter_config(options: dict[str, Any], folder: Path) -> None:
    config = TransformerConfig(**{str(name): value for name, value in options.items()})
    _in_range(config)
    must_equal("its JSON", TransformerConfig.from_dict(json.loads(config.to_json_string())).to_dict(), config.to_dict())
    copied = TransformerConfig().swap(**{n: v for n, v in options.items() if n in TransformerConfig.own_names()})
    for name in TransformerConfig.own_names():
        must_equal(f"{name}, swapped in,", getattr(copied, name), getattr(config, name))
    _built(config)


def _json_text(rng: Random) -> str:
    data = json.loads(TransformerConfig(**{n: v for n, v in _SOUND.items() if n != "id2label"}).to_json_string())
    text = mutate.as_json(mutate.a_tree(rng, data))
    return mutate.a_text(rng, text) if rng.random() < 0.3 else text


@way("config.json", 60, _json_text)
def enter_file(text: str, folder: Path) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    config = TransformerConfig.from_pretrained(folder)
    _in_range(config)
    config.save_pretrained(folder / "again")
    must_equal("config.json", TransformerConfig.from_pretrained(folder / "again").to_dict(), config.to_dict())
    _built(config)


def _in_range(config: TransformerConfig) -> None:
    """Raise `Nonsense` for sizes that are no sizes, and shares that are no shares."""
    wrong = [name for name in _SIZES if type(getattr(config, name)) is not int or getattr(config, name) < 1]
    wrong += [] if 0 <= config.dropout <= 1 else ["dropout"]
    wrong += [] if 0 <= config.initializer_range < math.inf else ["initializer_range"]
    wrong += [n for n in ("tie_word_embeddings", "use_cache") if not isinstance(getattr(config, n), bool)]
    wrong += [] if config.causal in (True, False, None) else ["causal"]
    if wrong:
        raise Nonsense(", ".join(f"{name}={getattr(config, name)!r} was taken" for name in wrong))


def _built(config: TransformerConfig) -> None:
    """Build models of a configuration without memory, or raise what the library says."""
    if config.depth > 8 or max(config.width, config.vocab_size, config.context_length) > 4096:
        return
    with torch.device("meta"):
        SequenceClassifier(config) if config.causal is False else CausalLM(config)


def _amounts(rng: Random) -> dict[str, Any]:
    budget: dict[str, Any] = {"steps": 3, "batch_size": 2, "learning_rate": 0.001, "warmup": 0.1, "clip": 1.0}
    study = {"seeds": [0, 1], "match": "steps", "shard": False, "base": {"depth": 1, "mixer": "softmax"}}
    arms = [["softmax", {"mixer": "softmax"}], ["deep", {"depth": 2, "position": "learned"}]]
    whole = {"budget": budget | {"weight_decay": 0.1, "evaluations": 2}, "study": study, "arms": arms}
    damaged: dict[str, Any] = mutate.a_tree(rng, whole) if rng.random() < 0.9 else whole
    return damaged


@way("studies in Python", 50, _amounts)
def enter_study(case: Any, folder: Path) -> None:
    """What a study is made of, each by its own name; what is written reads back equal."""
    case = case if isinstance(case, dict) else {"study": {"seeds": case}}
    budget, listed = case.get("budget", {}), case.get("arms")
    given = Budget(**_named(Budget, budget)) if isinstance(budget, dict) else budget
    arms = [
        Arm(*arm) if isinstance(arm, list) and len(arm) == 2 else arm
        for arm in (listed if isinstance(listed, list) else ())
    ]
    others = _named(Study, case.get("study"))
    study = Study(task="sort(length=4)", budget=given, arms=tuple(arms), folder=folder, **others)
    taken = study.budget
    amounts = [taken.learning_rate, taken.warmup, taken.weight_decay, taken.clip]
    if not all(math.isfinite(amount) for amount in amounts):
        raise Nonsense(f"{taken} was taken")
    write_study(study, folder / "study.yaml")
    must_equal("study.yaml", read_study(folder / "study.yaml").to_dict(), study.to_dict())


def _named(kind: type, options: Any) -> dict[str, Any]:
    """Return the options that a class has: of others, Python itself says so."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in options.items() if name in names} if isinstance(options, dict) else {}
