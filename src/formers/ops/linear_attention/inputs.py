"""The checked inputs of the ops of linear attention, as every form takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

from formers.ops.linear_attention.state import LinearState

Similarity: TypeAlias = Callable[[Tensor], Tensor]
"""Scaled scores → the products of features φ(q)·φ(k), number by number."""


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


class KernelInputs(NamedTuple):
    """The inputs of `kernel_attention`."""

    q_bhlk: Tensor
    k_bhsk: Tensor
    v_bhsv: Tensor
    kernel: Similarity
    causal: bool
    key_mask_bs: Tensor | None
    normalize: bool
    scale: float


class WindowedInputs(NamedTuple):
    """The inputs of `windowed_linear_attention`."""

    q_bhlk: Tensor
    k_bhlk: Tensor
    v_bhlv: Tensor
    phi_q_bhlm: Tensor
    phi_k_bhlm: Tensor
    log_gain_h: Tensor | None
    window: int
    sinks: int
    floor: float
