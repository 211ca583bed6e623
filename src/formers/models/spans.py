"""The spans that heads of a model have learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from formers.mixers.adaptive_span import AdaptiveSpanMixer
from formers.part import Unsupported


def attention_spans(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return z of each head, in tokens, (H,), by the name of its mixer in the model, in the order of the layers.

    Where every token has spans of its own, it is their mean over the tokens of a batch, padding among them.

    Args:
        model: a model, or any module.
        inputs: what the model is called with, such as {"input_ids": …}; needed for dynamic spans alone.

    Raise Unsupported where no mixer learns spans, or where they depend on tokens and no inputs are given.
    """
    mixers = {name: module for name, module in model.named_modules() if isinstance(module, AdaptiveSpanMixer)}
    if not mixers:
        raise Unsupported("no layer of this model learns its spans; build it with mixer=adaptive_span()")
    if any(mixer.part.dynamic for mixer in mixers.values()) and not inputs:
        raise Unsupported("adaptive_span(dynamic=True) has spans for tokens; give the model's inputs, input_ids=…")
    found = {name: mixer.shares(torch.empty(0)) for name, mixer in mixers.items() if not mixer.part.dynamic}
    if len(found) < len(mixers):
        found |= _shares_of_tokens(model, {n: m for n, m in mixers.items() if n not in found}, inputs)
    return {name: found[name].detach().mean((0, 2)) * mixer.span for name, mixer in mixers.items()}


def _shares_of_tokens(
    model: nn.Module, mixers: Mapping[str, AdaptiveSpanMixer], inputs: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return z/S of every head and token, (B, H, L), as the mixers make it of these inputs."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, logits: found.__setitem__(name, logits.sigmoid().transpose(1, 2))

    hooks = [mixer.span_proj.register_forward_hook(keep(name)) for name, mixer in mixers.items()]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found
