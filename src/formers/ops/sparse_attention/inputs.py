"""The inputs of sparse attention as its forms take them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.sparse_attention.pair_bias import PairBias
from formers.ops.sparse_attention.pairs import Pairs


class SparseInputs(NamedTuple):
    """The checked inputs of `sparse_attention`; heads take the patterns in turn."""

    q_bhlk: Tensor
    k_bhsk: Tensor
    v_bhsv: Tensor
    patterns: tuple[Pairs, ...]
    causal: bool
    key_mask_bs: Tensor | None
    global_bs: Tensor | None
    bias: PairBias | None
    scale: float
