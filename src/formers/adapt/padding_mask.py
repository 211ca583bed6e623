"""Hugging Face's mask function for all mixers: which tokens are real, and which pairs the model lets see each other.

The mask is the padding mask itself, with the direction and the layer's own window written on it, since a mixer needs no
pairs; so nothing is lost on the way, or the model is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getclosurevars
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    sliding_window_bidirectional_mask_function,
    sliding_window_causal_mask_function,
)

from formers.part import Unsupported


class MaskFacts(NamedTuple):
    """What a mask function knew beside padding.

    Attributes:
        causal: the direction.
        window: how many of the latest tokens, itself included, the layer lets a token see, or how far to both sides in
            both directions; None for all.
        new_are_real: whether no new token is padding.
    """

    causal: bool
    window: int | None
    new_are_real: bool


class PaddingMask(Tensor):
    """Which keys are real tokens, (B, S), with what else the mask function knew.

    Copies know it, too, such as those that accelerate makes for layers on another device.
    """

    facts: MaskFacts | None = None

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and hand the facts on to what it makes of a mask."""
        made = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(made, cls) and made.facts is None and args and isinstance(args[0], cls):
            made.facts = args[0].facts
        return made

    def plain(self) -> Tensor:
        """Return the mask as a tensor like any other."""
        return self.as_subclass(Tensor)


def padding_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    device: torch.device | None = None,
    **unused: Any,
) -> PaddingMask:
    """Return which keys are real tokens, (B, S), with the direction and the window.

    Raise Unsupported for any other mask than causal or bidirectional, in a window or not, and for caches of fixed size.
    """
    causal, window = _pairs_of(mask_function)
    if kv_offset or (causal and kv_length != int(q_offset) + q_length):
        raise Unsupported("caches of fixed size hold keys that are not there yet; use formers.adapt.AttentionCache()")
    mask_bs = torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)
    if attention_mask is not None:
        mask_bs = attention_mask[:, :kv_length].to(torch.bool).clone()
    real = attention_mask is None or bool(mask_bs[:, kv_length - q_length :].all())  # read once for all layers
    mask = mask_bs.as_subclass(PaddingMask)
    mask.facts = MaskFacts(causal, window, real)
    return mask


def facts_of(mask: Tensor | None) -> MaskFacts | None:
    """Return what the mask function knew; None for a foreign mask."""
    return mask.facts if isinstance(mask, PaddingMask) else None


def _pairs_of(mask_function: Callable[..., Any]) -> tuple[bool, int | None]:
    """Return the direction and the window of a mask function. Raise Unsupported for one that is neither."""
    for base, windowed in (
        (causal_mask_function, sliding_window_causal_mask_function),
        (bidirectional_mask_function, sliding_window_bidirectional_mask_function),
    ):
        window = _window_of(mask_function, windowed(1))
        if mask_function is base or window is not None:
            return base is causal_mask_function, window
    raise Unsupported(
        "the model masks more than padding, the future and what is beyond a window (packed sequences, chunks, blocks "
        "of an image), which a mixer would not see. Give each sequence a row, padded, or keep the model's attention"
    )


def _window_of(mask_function: Callable[..., Any], like: Callable[..., Any]) -> int | None:
    """Return the width of a window's mask function, if it was made like another one: by the same code throughout."""
    if not _same_code(mask_function, like):
        return None
    parts, wanted = (getclosurevars(one).nonlocals["mask_functions"] for one in (mask_function, like))
    if len(parts) != len(wanted) or not all(map(_same_code, parts, wanted)):
        return None
    width: int = getclosurevars(parts[0]).nonlocals["sliding_window"]
    return width


def _same_code(one: Any, other: Any) -> bool:
    return getattr(one, "__code__", None) is getattr(other, "__code__", one)
