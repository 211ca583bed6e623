"""A path or a report in the place of a model is answered with how to get the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from formers.adapt import convert, from_hf, to_hf, use_attention

from .families import DECODERS, made

CALLS: dict[str, Callable[[Any], Any]] = {
    "from_hf": from_hf,
    "convert": lambda it: convert(it, "window(4)"),
    "use_attention": lambda it: use_attention(it, "window(4)"),
    "to_hf": lambda it: to_hf(it, None),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_path_is_no_model(call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"a model is needed, but 'path/to' \(str\) was given; load one"):
        call("path/to")


def test_a_conversion_holds_the_model() -> None:
    found = convert(made(DECODERS["llama"]), None)
    with pytest.raises(TypeError, match=r"a Conversion was given, which holds a model; give its \.model"):
        to_hf(found, None)
