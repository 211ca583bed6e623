"""Types and ranges of a configuration's options, checked whenever one is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

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
    keys = {str(key) for key in value or {}}
    return value is None or (bool(keys) and keys == {str(i) for i in range(len(value))})


def _is_dtype(value: Any) -> bool:
    """Return whether a value is one of torch's dtypes, or the name of one."""
    return value is None or isinstance(getattr(torch, value, None) if isinstance(value, str) else value, torch.dtype)


_SIZE = _Rule(int, "a positive whole number", lambda value: value >= 1)
_SWITCH = _Rule(bool, "True or False")
_OPTIONAL_SWITCH = _Rule(bool | None, "True, False or None")
_TOKEN = _Rule(int | None, "a token's number, 0 or more, or None", lambda value: value is None or value >= 0)

_MOST_LABELS = 1 << 20
"""Hugging Face writes a name for each label as soon as the number is set: more would take all memory."""

_RULES = {
    **dict.fromkeys(("vocab_size", "width", "depth", "heads", "context_length"), _SIZE),
    "num_labels": _Rule(int, f"a whole number from 1 to {_MOST_LABELS:,}", lambda value: 1 <= value <= _MOST_LABELS),
    **dict.fromkeys(("tie_word_embeddings", "use_cache"), _SWITCH),
    **dict.fromkeys(("causal", "output_hidden_states", "output_attentions", "return_dict"), _OPTIONAL_SWITCH),
    **dict.fromkeys(("pad_token_id", "bos_token_id"), _TOKEN),
    **dict.fromkeys(("dtype", "torch_dtype"), _Rule(object, 'a dtype of torch, such as "float32"', _is_dtype)),
    "eos_token_id": _Rule(
        int | tuple[int, ...] | None,
        "a token's number, 0 or more, a list of them, or None",
        lambda value: all(token >= 0 for token in (value if isinstance(value, (list, tuple)) else [value or 0])),
    ),
    "dropout": _Rule(float, "a number from 0 to 1", lambda value: 0 <= value <= 1),
    "initializer_range": _Rule(float, "a finite number, 0 or more", lambda value: value >= 0),
    "id2label": _Rule(dict | None, "a name for each label, {0: …, 1: …}, or None", _is_names_of_labels),
    "label2id": _Rule(dict | None, "the label of each name, or None"),
    "problem_type": _Rule(
        Literal["regression", "single_label_classification", "multi_label_classification"] | None,
        '"regression", "single_label_classification", "multi_label_classification" or None',
    ),
    "architectures": _Rule(tuple[str, ...] | None, "a list of class names, or None"),
    "is_encoder_decoder": _SWITCH,
    "chunk_size_feed_forward": _Rule(int, "a whole number"),
}

_WITHOUT_EFFECT = {
    "output_attentions": "kernels never form attention weights",
    "is_encoder_decoder": "there is one stack of layers",
    "chunk_size_feed_forward": "feed-forwards are not cut into chunks",
}
"""Options of Hugging Face's that models here cannot follow, and why: each may only be left as it is."""


def option_type(name: str) -> Any:
    """Return the type of an option, as a hint that text is read by; `object` for one that takes anything."""
    return _RULES[name].hint if name in _RULES else object


def check_option(name: str, value: Any) -> None:
    """Raise ValueError for a value out of the option's type or range; Unsupported for one that would have no effect."""
    rule = _RULES.get(name)
    if rule is not None and not rule.holds(value):
        raise ValueError(f"{name} must be {rule.words}, but {quoted(value)} ({type(value).__name__}) was given")
    if name in _WITHOUT_EFFECT and value:
        raise Unsupported(f"{name}={quoted(value)} has no effect here: {_WITHOUT_EFFECT[name]}; leave it out")


def check_labels(options: dict[str, Any]) -> None:
    """Raise ValueError if the number of labels and their names contradict each other."""
    number, names = options.get("num_labels"), options.get("id2label")
    if number is not None and names is not None and number != len(names):
        raise ValueError(
            f"num_labels={number} was given, but id2label names {len(names)} labels; give one of the two alone"
        )
