"""Attention over chosen pairs of tokens, at a cost that grows with the pairs."""

from formers.ops.sparse_attention.block_lists import BlockLists, block_lists
from formers.ops.sparse_attention.numbers import number_of
from formers.ops.sparse_attention.pair_bias import OfPair, PairBias
from formers.ops.sparse_attention.pairs import Fold, PairMask, Pairs, Reordered, every_nth
from formers.ops.sparse_attention.sparse_attention import sparse_attention
from formers.ops.sparse_attention.varlen import varlen_attention

__all__ = [
    "BlockLists",
    "Fold",
    "OfPair",
    "PairBias",
    "PairMask",
    "Pairs",
    "Reordered",
    "block_lists",
    "every_nth",
    "number_of",
    "sparse_attention",
    "varlen_attention",
]
