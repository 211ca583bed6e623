"""Types and ranges of a configuration's options, checked whenever one is set."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Literal

import torch

from formers.ffn import ACTIVATIONS, Activation
from formers.part import Unsupported, quoted
from formers.part.option_types import MISMATCH, accept


@dataclass(frozen=True)
class _Rule:
    """A type and a range, and the words for both in an error."""

    hint: Any
    words: str
    is_in_range: Callable[[Any], bool] = lambda value: True

    def holds(self, value: Any) -> bool:
        return accept(value, self.hint) is not MISMATCH and self.is_in_range(value)


def _is_names_of_labels(value: Any) -> bool:
    """Return whether a dictionary names the labels 0, 1, …, of which there is at least one (in JSON, "0", "1", …)."""
    if value is None:
        return True
    keys = {str(key) for key in value}
    return (
        bool(keys) and keys == {str(i) for i in range(len(value))} and all(isinstance(v, str) for v in value.values())
    )


def _is_numbers_of_labels(value: Any) -> bool:
    """Return whether a dictionary gives texts whole numbers."""
    return value is None or all(isinstance(name, str) and accept(n, int) is not MISMATCH for name, n in value.items())


def _is_dtype(value: Any) -> bool:
    """Return whether a value is one of torch's dtypes, or the name of one."""
    return value is None or isinstance(getattr(torch, value, None) if isinstance(value, str) else value, torch.dtype)


_SWITCH = _Rule(bool, "True or False")
_OPTIONAL_SWITCH = _Rule(bool | None, "True, False or None")
_TOKEN = _Rule(int | None, "a token's number, 0 or more, or None", lambda value: value is None or value >= 0)


def _size(most: int) -> _Rule:
    return _Rule(int, f"a whole number from 1 to {most:,}", lambda value: 1 <= value <= most)


_SIZES = {
    "vocab_size": 1 << 31,
    "width": 1 << 20,
    "depth": 10_000,
    "encoder_depth": 10_000,
    "heads": 1 << 20,
    "context_length": 1 << 31,
    "num_labels": 1 << 20,
    "mixtures": 1 << 10,
    "state_size": 1 << 20,
    "action_size": 1 << 20,
    "longest_episode": 1 << 31,
}
"""The most of each size that anybody means: more takes all time (layers are built one by one), or all memory (Hugging
Face writes a name for each label as soon as the number is set), or is more than torch can count (weights)."""

_RULES = {
    **{name: _size(most) for name, most in _SIZES.items()},
    **dict.fromkeys(
        ("tie_word_embeddings", "use_cache", "head_bias", "discrete_actions", "return_conditioned"), _SWITCH
    ),
    **dict.fromkeys(("causal", "output_hidden_states", "output_attentions", "return_dict"), _OPTIONAL_SWITCH),
    **dict.fromkeys(("pad_token_id", "bos_token_id"), _TOKEN),
    "decoder_start_token_id": _Rule(int, "a token's number, 0 or more", lambda value: value >= 0),
    **dict.fromkeys(("dtype", "torch_dtype"), _Rule(object, 'a dtype of torch, such as "float32"', _is_dtype)),
    "eos_token_id": _Rule(
        int | tuple[int, ...] | None,
        "a token's number, 0 or more, a list of them, or None",
        lambda value: all(token >= 0 for token in (value if isinstance(value, (list, tuple)) else [value or 0])),
    ),
    "head_width": _Rule(
        int | None, "a whole number from 1 to 1,048,576, or None", lambda value: value is None or 1 <= value <= 1 << 20
    ),
    "token_types": _Rule(int, "a whole number from 0 to 1,048,576", lambda value: 0 <= value <= 1 << 20),
    **dict.fromkeys(
        ("pooler", "head_transform"),
        _Rule(Activation | None, f"one of {', '.join(ACTIVATIONS)}, or None"),
    ),
    "dropout": _Rule(float, "a number from 0 to 1", lambda value: 0 <= value <= 1),
    "initializer_range": _Rule(float, "a finite number, 0 or more", lambda value: value >= 0),
    "id2label": _Rule(dict | None, "a name for each label, {0: …, 1: …}, or None", _is_names_of_labels),
    "label2id": _Rule(dict | None, "the number of each name, {…: 0, …: 1}, or None", _is_numbers_of_labels),
    "problem_type": _Rule(
        Literal["regression", "single_label_classification", "multi_label_classification"] | None,
        '"regression", "single_label_classification", "multi_label_classification" or None',
    ),
    "distribution": _Rule(Literal["logistics", "categorical"], '"logistics" or "categorical"'),
    "architectures": _Rule(tuple[str, ...] | None, "a list of class names, or None"),
    "is_encoder_decoder": _SWITCH,
    "chunk_size_feed_forward": _Rule(int, "a whole number"),
}

_WITHOUT_EFFECT = {
    **dict.fromkeys(("token_types", "pooler", "head_transform"), "only models of single texts have it"),
    "output_attentions": "kernels never form attention weights",
    "is_encoder_decoder": "there is one stack of layers",
    "chunk_size_feed_forward": "feed-forwards are not cut into chunks",
}
"""Options that some models here cannot follow, and why: each may only be left as it is."""


def option_type(name: str) -> Any:
    """Return the type of an option, as a hint that text is read by; `object` for one that takes anything."""
    return _RULES[name].hint if name in _RULES else object


def check_option(name: str, value: Any, effective: Container[str] = ()) -> None:
    """Raise ValueError for a value out of the option's type or range; Unsupported for one that would have no effect.

    `effective` names options of `_WITHOUT_EFFECT` that have one in the kind of configuration at hand.
    """
    rule = _RULES.get(name)
    if rule is not None and not rule.holds(value):
        raise ValueError(f"{name} must be {rule.words}, but {quoted(value)} ({type(value).__name__}) was given")
    if name in _WITHOUT_EFFECT and name not in effective and value:
        raise Unsupported(f"{name}={quoted(value)} has no effect here: {_WITHOUT_EFFECT[name]}; leave it out")


def check_labels(options: dict[str, Any]) -> None:
    """Raise ValueError if the number of labels, their names and the numbers of the names contradict each other."""
    number: int | None = options.get("num_labels")
    names: dict[Any, str] | None = options.get("id2label")
    numbers: dict[str, int] | None = options.get("label2id")
    check_option("id2label", names)
    check_option("label2id", numbers)
    if names is None and numbers is not None:
        names = label_names(numbers)
    if number is not None and names is not None and number != len(names):
        raise ValueError(
            f"num_labels={number} was given, but id2label names {len(names)} labels; give one of the two alone"
        )
    if numbers is not None and names is not None and numbers != label_numbers(names):
        raise ValueError(
            f"label2id must number the names that id2label has, {quoted(label_numbers(names))}, but {quoted(numbers)} "
            "was given; give id2label alone"
        )


def label_numbers(names: dict[Any, str]) -> dict[str, int]:
    """Return name → number from number → name. Of numbers with the same name, the last one."""
    return {name: int(number) for number, name in names.items()}


def label_names(numbers: dict[str, int]) -> dict[int, str]:
    """Return number → name from name → number. Raise ValueError unless the numbers are 0, 1, …, each once."""
    if not numbers or sorted(numbers.values()) != list(range(len(numbers))):
        raise ValueError(f"label2id must have the numbers 0, 1, …, each once, but {quoted(numbers)} was given")
    return {number: name for name, number in sorted(numbers.items(), key=lambda item: item[1])}


def kept(name: str, value: Any) -> Any:
    """Return a value that has been checked as JSON brings it back: tuples as lists, labels by whole numbers."""
    if name == "id2label" and value is not None:
        return {int(number): label for number, label in value.items()}
    return list(value) if isinstance(value, tuple) and name in ("eos_token_id", "architectures") else value
