"""The representation of a context in a model, by which its like are found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Literal, cast

from torch import Tensor, nn

from formers.models import CausalLM
from formers.part import Unsupported

Key = Literal["ffn_input", "hidden"]
"""`ffn_input`: what enters the last layer's feed-forward, behind its norm. `hidden`: what enters the head."""


class Tap:
    """Holds what entered a module when it was last called; nothing before that."""

    def __init__(self) -> None:
        self.taken: Tensor | None = None

    def keys(self, shape: tuple[int, ...]) -> Tensor:
        """Return what was taken, (…, D), detached. Raise Unsupported unless there is a vector for each token."""
        if self.taken is None or tuple(self.taken.shape[:-1]) != shape:
            what = "was not called" if self.taken is None else f"took {tuple(self.taken.shape)}"
            raise Unsupported(
                f"the last feed-forward {what}, where a vector for each of {shape} tokens was expected: the model does "
                "not run its last layer on every token at once; take key='hidden'"
            )
        return self.taken.detach()


@contextmanager
def tapped(model: CausalLM, key: Key) -> Iterator[Tap]:
    """Take, while the block runs, the representations out of the model's forward passes in this thread."""
    tap, thread = Tap(), get_ident()

    def take(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if get_ident() == thread:  # hooks see the calls of all threads
            tap.taken = inputs[0]

    handle = _place(model, key).register_forward_pre_hook(take)
    try:
        yield tap
    finally:
        handle.remove()


def _place(model: CausalLM, key: Key) -> nn.Module:
    """Return the module whose input is the representation."""
    if key == "hidden":
        return model.lm_head
    if key != "ffn_input":
        raise ValueError(f"key must be 'ffn_input' or 'hidden', but {key!r} was given")
    return cast(nn.Module, model.model.layers[-1].ffn)


def represent(model: CausalLM, ids_bl: Tensor, key: Key) -> tuple[Tensor, Tensor]:
    """Return keys (B, L, D) and logits (B, L, vocabulary) of whole sequences (B, L)."""
    with tapped(model, key) as tap:
        logits = model(input_ids=ids_bl.to(model.device), use_cache=False).logits
    return tap.keys(tuple(ids_bl.shape)), logits
