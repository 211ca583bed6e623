"""The kernels of the family: pure functions on tensors. Needs torch and nothing else.

    import torch
    from formers.ops import attention, fourier_mix, linear_attention, sparse_attention
    from formers.patterns import Sinks, Window

    q, k, v = torch.randn(3, 2, 4, 128, 32)  # (B, H, L, K) each
    y = attention(q, k, v, causal=True)
    y = sparse_attention(q, k, v, Window(16) | Sinks(4), causal=True)
    y, state = linear_attention(q, k, v, feature="elu", causal=True)
    y_next, state = linear_attention(q[:, :, :1], k[:, :, :1], v[:, :, :1], feature="elu", causal=True, state=state)
    y = fourier_mix(torch.randn(2, 128, 64))  # (B, L, D)

| tokens read | ops |
|---|---|
| every one | `attention`, `metric_attention` |
| those of a pattern | `sparse_attention`, `varlen_attention` |
| sums over all of them | `linear_attention`, `dense_attention`, `kernel_attention`, `windowed_linear_attention` |
| those in the same bucket or cluster | `bucketed_attention`, `clustered_attention` |
| by fixed weights | `fourier_mix`, `pool_mix` |

Features of queries and keys are `exp_features` and `fourier_features`; the other names are for forms of your own.

Each op takes `impl="auto" | "naive" | "torch" | …`: an explicit request never falls back, and "auto" logs what it chose
(logger `formers.ops`, level debug). The naive forms, straight from the formulas, are `formers.ops.<folder>.naive`; as
a function shadows the folder of the same name here, write `from formers.ops.attention import naive`.

Letters at the end of a name are the axes of a tensor, q_bhlk for (B, H, L, K):

    B  batch                           S  keys and values (= L without a cache)
    H  heads of queries                K  width of queries and keys per head
    G  heads of keys and values        V  width of values per head
    L  queries, tokens of a sequence   M  features of a query or a key
    D  width of the model              C  clusters, chunks, or places in an order of the tokens
    R  rounds of hashing               W  tokens in a window or a cluster

Lower-case letters in a name are axes, capitals in a docstring their sizes. Rarer ones are explained where they occur.
"""

from formers.ops.attention import Bias, DistanceTerms, Relation, attention, metric_attention, works_by_distance
from formers.ops.bucketed_attention import bucketed_attention, clustered_attention
from formers.ops.common.derivatives import gradients_by_autograd, is_transformed, needs_autograd
from formers.ops.common.dispatch import forms_table
from formers.ops.common.dtypes import accumulation_dtype, product_dtype, without_autocast
from formers.ops.common.half_types import multiplies_half
from formers.ops.common.operations import OperationCount, counted_times, each_kind, has_only_sizes
from formers.ops.common.padding import Packing, check_lengths, packing, pad_input, unpad_input
from formers.ops.common.readable import (
    can_read,
    is_free_to_read,
    read_once,
    read_together,
    require_data,
    tell,
    told,
)
from formers.ops.common.tracing import fixed_size, is_left_open
from formers.ops.linear_attention import (
    ElementwiseFeature,
    LinearState,
    dense_attention,
    elementwise_features,
    exp_features,
    fourier_features,
    kernel_attention,
    kernel_attention_reach,
    largest_exponents,
    linear_attention,
    linear_state,
    safe_divisor,
    windowed_linear_attention,
)
from formers.ops.sparse_attention import OfPair, PairBias, sparse_attention, varlen_attention
from formers.ops.token_mixing import PoolState, fourier_mix, pool_mix
from formers.ops.token_wise import activated_linear, max_norm, opposite_softmaxes

__all__ = [
    "Bias",
    "DistanceTerms",
    "ElementwiseFeature",
    "LinearState",
    "OfPair",
    "OperationCount",
    "Packing",
    "PairBias",
    "PoolState",
    "Relation",
    "accumulation_dtype",
    "activated_linear",
    "attention",
    "bucketed_attention",
    "can_read",
    "check_lengths",
    "clustered_attention",
    "counted_times",
    "dense_attention",
    "each_kind",
    "elementwise_features",
    "exp_features",
    "fixed_size",
    "forms_table",
    "fourier_features",
    "fourier_mix",
    "gradients_by_autograd",
    "has_only_sizes",
    "is_free_to_read",
    "is_left_open",
    "is_transformed",
    "kernel_attention",
    "kernel_attention_reach",
    "largest_exponents",
    "linear_attention",
    "linear_state",
    "max_norm",
    "metric_attention",
    "multiplies_half",
    "needs_autograd",
    "opposite_softmaxes",
    "packing",
    "pad_input",
    "pool_mix",
    "product_dtype",
    "read_once",
    "read_together",
    "require_data",
    "safe_divisor",
    "sparse_attention",
    "tell",
    "told",
    "unpad_input",
    "varlen_attention",
    "windowed_linear_attention",
    "without_autocast",
    "works_by_distance",
]
