"""Attention over every visible pair of tokens."""

from formers.ops.attention.attention import attention
from formers.ops.attention.bias import Bias
from formers.ops.attention.by_distance import works_by_distance
from formers.ops.attention.distance_terms import DistanceTerms
from formers.ops.attention.metric_attention import metric_attention
from formers.ops.attention.relation import Relation

__all__ = ["Bias", "DistanceTerms", "Relation", "attention", "metric_attention", "works_by_distance"]
