"""Attention inside groups that the data chose: sorted buckets, picked clusters."""

from formers.ops.bucketed_attention.bucketed_attention import bucketed_attention
from formers.ops.bucketed_attention.clustered_attention import clustered_attention

__all__ = ["bucketed_attention", "clustered_attention"]
