"""Costs of a memory, in words: its size, how far it reaches, and the operations that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formers.memory import Memory

_LAYERS, _SEGMENT = 6, 128


def memory_costs(part: Memory) -> str:
    """Return the costs of a memory in a model of the default sizes, read in segments of 128 tokens."""
    from formers.models import TransformerConfig

    config: Any = TransformerConfig(depth=_LAYERS, causal=True, position="xl")
    head = f"Costs in {config.depth} layers of width {config.width}, {config.heads} heads, position xl(), float32"
    return "\n".join([head, *(f"  {line}" for line in _lines(part, config))])


def _lines(part: Memory, config: Any) -> list[str]:
    import torch

    from formers.models import Transformer

    with torch.device("meta"):
        plain, model = (Transformer(config.swap(memory=memory)).eval() for memory in ("none", part))
    if not part.carried:
        per_token = plain.state_bytes_per_token(2 * _SEGMENT)
        return [f"size: that of the mixer's own state; with softmax() {per_token:,.0f} bytes a token, without end"]
    filled, flops = part.tokens(config.context_length), model.flops_per_token(_SEGMENT)
    return [
        f"size: {(model.state_bytes(filled) or 0) / 2**20:,.2f} MiB a sequence in evaluation, after {filled:,} tokens",
        f"reach: {part.reach(config.depth, config.context_length):,} tokens before a segment",
        f"operations: {flops / 1e6:,.1f} MFLOPs a token in segments of {_SEGMENT} with a full memory, "
        f"{flops / plain.flops_per_token(_SEGMENT):.2f} times those without",
    ]
