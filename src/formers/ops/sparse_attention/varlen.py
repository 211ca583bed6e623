"""Sparse attention in sequences of different lengths, for patterns that depend on the length: one sequence at a time.

The lengths are data, which a compiled graph cannot branch on, so there the whole is one operation,
`formers::varlen_attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import gradients_by_autograd, needs_autograd
from formers.ops.common.padding import read_lengths
from formers.ops.sparse_attention.numbers import patterns_of
from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs
from formers.ops.sparse_attention.sparse_attention import sparse_attention


def varlen_attention(
    q_bhlk: Tensor,
    k_bglk: Tensor,
    v_bglv: Tensor,
    length_b: Tensor,
    patterns: Sequence[Pairs],
    *,
    causal: bool = False,
    bias: PairBias | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return `sparse_attention` of the first `length_b` tokens of each sequence among themselves; zeros behind them.

    Args:
        q_bhlk, k_bglk, v_bglv, patterns, causal, bias, impl: as in `sparse_attention`, with one pattern per head in
            turn.
        length_b: real tokens of each sequence, (B,), int64; what lies behind them does not matter.

    Returns:
        (B, H, L, V).

    Cost: that of `sparse_attention` for each sequence; reading the lengths waits for the device, once while the tensor
    lives.
    Raises `ValueError` as `sparse_attention` does, and for a bias inside `torch.compile`.
    """
    if not torch.compiler.is_compiling():
        return _each_sequence(q_bhlk, k_bglk, v_bglv, length_b, tuple(patterns), causal, bias, impl)
    if bias is not None:
        raise ValueError(
            "a compiled model cannot add a bias to the scores of a padded batch whose pattern depends on the length"
        )
    numbers = [one.number() for one in patterns]
    y: Tensor = torch.ops.formers.varlen_attention(q_bhlk, k_bglk, v_bglv, length_b, numbers, causal, impl)
    return y


def _each_sequence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    length_b: Tensor,
    patterns: tuple[Pairs, ...],
    causal: bool,
    bias: PairBias | None,
    impl: str,
) -> Tensor:
    if not len(q):
        return _of_no_tokens(q, k, v)
    ys = []
    for b, length in enumerate(read_lengths(length_b)):
        own = None if bias is None else bias.of_sequence(b)
        q_1, k_1, v_1 = (t[b : b + 1, :, :length] for t in (q, k, v))
        y = (
            sparse_attention(q_1, k_1, v_1, patterns, causal=causal, bias=own, impl=impl)
            if length
            else _of_no_tokens(q_1, k_1, v_1)
        )
        ys.append(torch.nn.functional.pad(y, (0, 0, 0, q.shape[2] - length)))
    return torch.cat(ys)


def _of_no_tokens(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return zeros (B, H, L, V) that still depend on all three: where every sequence is empty, gradients are zeros."""
    return q.new_zeros(*q.shape[:3], v.shape[3]) + (q.sum() + k.sum() + v.sum())


# --- the operation that compiled graphs call; they hold no patterns, only their numbers ---


def _forward(q: Tensor, k: Tensor, v: Tensor, length_b: Tensor, numbers: list[int], causal: bool, impl: str) -> Tensor:
    return _each_sequence(q, k, v, length_b, patterns_of(tuple(numbers)), causal, None, impl)


def _backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, length_b: Tensor, numbers: list[int], causal: bool, impl: str
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        inputs = [t.detach().requires_grad_() for t in (q, k, v)]
        y = _each_sequence(inputs[0], inputs[1], inputs[2], length_b, patterns_of(tuple(numbers)), causal, None, impl)
        dq, dk, dv = torch.autograd.grad(y, inputs, g)
    return dq, dk, dv


def _fake_forward(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
    return q.new_empty(*q.shape[:3], v.shape[3])


def _fake_backward(g: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.options = inputs[4:]


def _differentiate(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, length_b = ctx.saved_tensors
    if needs_autograd(g):
        found = gradients_by_autograd(lambda q, k, v: (_forward(q, k, v, length_b, *ctx.options),), (q, k, v), (g,))
    else:
        found = torch.ops.formers.varlen_attention_backward(g, q, k, v, length_b, *ctx.options)
    return *found, None, None, None, None


def _register() -> torch.library.Library:
    """Register both passes as operations that compilers leave alone; they live as long as what is returned."""
    library = torch.library.Library("formers", "FRAGMENT")
    given = "Tensor q, Tensor k, Tensor v, Tensor length_b, int[] numbers, bool causal, str impl"
    library.define(f"varlen_attention({given}) -> Tensor")
    library.define(f"varlen_attention_backward(Tensor g, {given}) -> (Tensor, Tensor, Tensor)")
    library.impl("varlen_attention", _forward, "CompositeExplicitAutograd")
    library.impl("varlen_attention_backward", _backward, "CompositeExplicitAutograd")
    library._register_fake("varlen_attention", _fake_forward)
    library._register_fake("varlen_attention_backward", _fake_backward)
    torch.library.register_autograd(
        "formers::varlen_attention", _differentiate, setup_context=_save_for_backward, lib=library
    )
    return library


_LIBRARY = _register()
