"""Attention over the pairs of a pattern."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from formers.ops.attention.bias import check_bias
from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.sparse_attention import flex, gathered, naive
from formers.ops.sparse_attention.inputs import SparseInputs
from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs


def sparse_attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    pattern: Pairs | Sequence[Pairs],
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    global_bs: Tensor | None = None,
    bias: Tensor | PairBias | None = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return scaled dot-product attention over chosen pairs, `softmax(q kᵀ·scale + bias) v`, a set of keys per query.

    Args:
        q_bhlk: queries (B, H, L, K).
        k_bhsk, v_bhsv: keys (B, G, S, K) and values (B, G, S, V); G divides H, and H/G query heads share one.
        pattern: which pairs, as `formers.patterns` makes them; several are given in turn to the heads.
        causal: the pattern's causal form: nothing later than the query. With L ≠ S, causal or not, the last query
            stands at the last key: query i is token i + S − L.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter.
        global_bs: (B, S) bool, tokens that see all and are seen by all, sequence by sequence, whatever the pattern
            says; masked ones do not.
        bias: added to the scaled scores: a tensor that broadcasts to (B, H, L, S), or a `PairBias`, which makes it for
            the pairs that are computed.
        scale: 1/√K by default.
        impl: "auto", "gathered", "flex" (FlexAttention; its restrictions raise) or "naive" (from the formula). On a GPU
            "auto" is "flex" wherever that can run: its kernel is compiled once for a pattern and the sizes, and has no
            second derivatives.

    Returns:
        (B, H, L, V). A query that sees no key gives zeros, and its gradient is zero.

    Cost: time and memory ∝ the pairs, rounded up to blocks of queries; O((L + S)K) is kept for the backward pass. The
    block lists, or tiles, are derived once for a pattern and lengths.
    Raises `ValueError` for shapes, dtypes, masks or patterns that do not fit.
    """
    size = checks.sizes(q=(q_bhlk, "BhLK"), k=(k_bhsk, "BGSK"), v=(v_bhsv, "BGSV"))
    heads = q_bhlk.shape[1]
    checks.same_dtype(q=q_bhlk, k=k_bhsk, v=v_bhsv)
    checks.groups(heads, size["G"])
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    checks.mask("global_bs", global_bs, size["B"], size["S"])
    pair_bias = _as_pair_bias(bias, (size["B"], heads, size["L"], size["S"]))
    patterns = _check_patterns(pattern, heads, size["S"])
    scale = q_bhlk.shape[3] ** -0.5 if scale is None else scale
    inputs = SparseInputs(q_bhlk, k_bhsk, v_bhsv, patterns, causal, key_mask_bs, global_bs, pair_bias, scale)
    return _FORMS.run(impl, inputs, q_bhlk.device)


def _as_pair_bias(bias: Tensor | PairBias | None, shape: tuple[int, int, int, int]) -> PairBias | None:
    """Return the bias in the form that kernels ask for pairs of. Raise ValueError for one that does not fit."""
    if bias is None or isinstance(bias, PairBias):
        return bias
    if not isinstance(bias, Tensor):
        raise ValueError(
            f"bias is {bias!r}; expected a tensor or a PairBias. Wrap a function as PairBias(function, depends_on=(…,))"
            " with the tensors it reads that want gradients"
        )
    check_bias(bias, shape)
    return PairBias.of_tensor(bias)


def _check_patterns(pattern: Pairs | Sequence[Pairs], heads: int, length: int) -> tuple[Pairs, ...]:
    """Return the patterns as a tuple. Raise ValueError for too many, or for one that does not fit the length."""
    patterns = tuple(pattern) if isinstance(pattern, (list, tuple)) else (pattern,)
    if not patterns or len(patterns) > heads:
        raise ValueError(
            f"{len(patterns)} patterns were given for {heads} heads; expected one, or up to one for each head"
        )
    for one in patterns:
        one.fits(length)
    return patterns


# On a CPU "flex" runs on request only: there it has no gradients.
_FORMS: Forms[SparseInputs, Tensor] = Forms(
    "sparse_attention",
    Form("gathered", gathered.sparse_attention),
    Form("flex", flex.sparse_attention, flex.unsupported_reasons),
    Form("naive", naive.sparse_attention),
    preference={"cpu": ["gathered"], "cuda": ["flex", "gathered"]},
)
