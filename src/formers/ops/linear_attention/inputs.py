"""The checked inputs of the ops of linear attention, as every form takes them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.linear_attention.state import LinearState


class LinearInputs(NamedTuple):
    """The inputs of `linear_attention`."""

    q_bhlm: Tensor
    k_bhsm: Tensor
    v_bhsv: Tensor
    causal: bool
    key_mask_bs: Tensor | None
    state: LinearState | None
    normalize: bool
    floor: float
    log_decay_bhl: Tensor | None
    feature: str


class DenseInputs(NamedTuple):
    """The inputs of `dense_attention`."""

    q_bhlk: Tensor
    x_bhsk: Tensor
    causal: bool
    key_mask_bs: Tensor | None
    state: LinearState | None
    order: str
