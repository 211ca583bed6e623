"""Sparse attention in rows of different lengths, for patterns that depend on the length: row by row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.ops.gathered import PairBias
from formers.ops.pairs import Pairs
from formers.ops.sparse import sparse_attention

_PATTERNS: dict[int, tuple[Pairs, ...]] = {}
"""What compiled graphs, which hold no patterns, name by a number."""


def ragged_attention(
    q_bhlk: Tensor,
    k_bglk: Tensor,
    v_bglv: Tensor,
    length_b: Tensor,
    patterns: Sequence[Pairs],
    *,
    causal: bool = False,
    bias: PairBias | None = None,
) -> Tensor:
    """`sparse_attention` of the first `length_b` tokens of each row among themselves; zeros behind them. (B, H, L, V)."""
    if not torch.compiler.is_compiling():
        return _by_rows(q_bhlk, k_bglk, v_bglv, length_b, patterns, causal, bias)
    if bias is not None:
        raise ValueError(
            "a compiled model cannot add a bias to the scores of a padded batch whose pattern depends on the length"
        )
    y: Tensor = torch.ops.formers.ragged_attention(q_bhlk, k_bglk, v_bglv, length_b, _number_of(*patterns), causal)
    return y


def _by_rows(
    q: Tensor, k: Tensor, v: Tensor, length_b: Tensor, patterns: Sequence[Pairs], causal: bool, bias: PairBias | None
) -> Tensor:
    rows = []
    for b, length in enumerate(length_b.tolist()):
        own = None if bias is None else _row_of(bias, b)
        q_1, k_1, v_1 = (t[b : b + 1, :, :length] for t in (q, k, v))
        y = (
            sparse_attention(q_1, k_1, v_1, patterns, causal=causal, bias=own)
            if length
            else q_1.new_zeros(*q_1.shape[:3], v.shape[3])
        )
        rows.append(torch.nn.functional.pad(y, (0, 0, 0, q.shape[2] - length)))
    return torch.cat(rows)


def _row_of(bias: PairBias, b: int) -> PairBias:
    return lambda _, q_nl, k_ns: bias(b, q_nl, k_ns)


def _number_of(*patterns: Pairs) -> int:
    """A number that names these patterns."""
    number = hash(patterns) % (1 << 31)
    _PATTERNS[number] = patterns
    return number


_number_of._dynamo_marked_constant = True  # type: ignore[attr-defined]  # as for `sparse.layouts`


def forward(q: Tensor, k: Tensor, v: Tensor, length_b: Tensor, number: int, causal: bool) -> Tensor:
    return _by_rows(q, k, v, length_b, _PATTERNS[number], causal, None)


def backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, length_b: Tensor, number: int, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        inputs = [t.detach().requires_grad_() for t in (q, k, v)]
        y = _by_rows(inputs[0], inputs[1], inputs[2], length_b, _PATTERNS[number], causal, None)
        dq, dk, dv = torch.autograd.grad(y, inputs, g)
    return dq, dk, dv


def _shape_of(q: Tensor, k: Tensor, v: Tensor, length_b: Tensor, number: int, causal: bool) -> Tensor:
    return q.new_empty(*q.shape[:3], v.shape[3])


def _register() -> None:
    """Makes both known to compilers as operations to leave alone."""
    tensors = "Tensor q, Tensor k, Tensor v, Tensor length_b, int number, bool causal"
    _LIBRARY.define(f"ragged_attention({tensors}) -> Tensor")
    _LIBRARY.define(f"ragged_attention_backward(Tensor g, {tensors}) -> (Tensor, Tensor, Tensor)")
    for name, function in (("ragged_attention", forward), ("ragged_attention_backward", backward)):
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    _LIBRARY._register_fake("ragged_attention", _shape_of)
    _LIBRARY._register_fake(
        "ragged_attention_backward", lambda g, q, k, v, *rest: tuple(map(torch.empty_like, (q, k, v)))
    )

    def keep(ctx, inputs, output):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*inputs[:4])
        ctx.options = inputs[4:]

    def gradients(ctx, g):  # type: ignore[no-untyped-def]
        found = torch.ops.formers.ragged_attention_backward(g, *ctx.saved_tensors, *ctx.options)
        return *found, None, None, None

    torch.library.register_autograd("formers::ragged_attention", gradients, setup_context=keep, lib=_LIBRARY)


_LIBRARY = torch.library.Library("formers", "FRAGMENT")
_register()
