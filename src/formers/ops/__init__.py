"""The kernels of the family: pure functions on tensors. Needs torch and nothing else.

Each op takes `impl="auto" | "naive" | "torch"`: an explicit request never falls back, and `auto` logs what it chose
(logger `formers.ops`, level debug). The plain forms are in `formers.ops.plain`.
"""

from formers.ops import plain
from formers.ops.bucketed_attention.bucketed_attention import bucketed_attention
from formers.ops.bucketed_attention.clustered_attention import clustered_attention
from formers.ops.common.padding import Packing, packing, pad_input, unpad_input
from formers.ops.exact import attention, metric_attention
from formers.ops.linear_attention.decayed import decayed_linear_attention
from formers.ops.linear_attention.exp_features import exp_features
from formers.ops.linear_attention.linear_attention import (
    dense_attention,
    kernel_attention,
    linear_attention,
    linear_state,
)
from formers.ops.pool import pool_mix
from formers.ops.sparse import sparse_attention
from formers.ops.spectral import fourier_mix
from formers.ops.types import Bias, LinearState, PoolState

__all__ = [
    "Bias",
    "LinearState",
    "Packing",
    "PoolState",
    "attention",
    "bucketed_attention",
    "clustered_attention",
    "decayed_linear_attention",
    "dense_attention",
    "exp_features",
    "fourier_mix",
    "kernel_attention",
    "linear_attention",
    "linear_state",
    "metric_attention",
    "packing",
    "pad_input",
    "plain",
    "pool_mix",
    "sparse_attention",
    "unpad_input",
]
