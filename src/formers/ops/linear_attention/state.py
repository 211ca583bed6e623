"""The sums that linear attention remembers."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.common.half_types import multiplies_half
from formers.ops.common.padding import zero_masked
from formers.ops.linear_attention.wide_products import wide_product


class LinearState(NamedTuple):
    """The sums over all keys and values so far, of the same size at any length; float32 or wider.

    Attributes:
        s_bhmv: Σ_j k_j v_jᵀ, (B, H, M, V).
        z_bhm: Σ_j k_j, (B, H, M); None where nothing is normalised (`normalize=False`).
    """

    s_bhmv: Tensor
    z_bhm: Tensor | None

    @property
    def nbytes(self) -> int:
        """Return the bytes held."""
        return sum(t.numel() * t.element_size() for t in self if t is not None)


def linear_state(
    k_bhsm: Tensor, v_bhsv: Tensor, *, key_mask_bs: Tensor | None = None, normalize: bool = True
) -> LinearState:
    """Return the state of `linear_attention` after these keys and values, without outputs or decay.

    Args and errors are those of `linear_attention`. Cost: O(S M V).
    """
    size = checks.sizes(k=(k_bhsm, "BHSM"), v=(v_bhsv, "BHSV"))
    checks.same_dtype(k=k_bhsm, v=v_bhsv)
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    with without_autocast(k_bhsm.device):
        return sums(zero_masked(k_bhsm, key_mask_bs), zero_masked(v_bhsv, key_mask_bs), normalize)


def sums(k_bhsm: Tensor, v_bhsv: Tensor, normalize: bool) -> LinearState:
    """Return Σ k vᵀ and, where it is needed, Σ k, of keys and values whose masked rows are zero."""
    dtype = accumulation_dtype(k_bhsm.dtype)
    if multiplies_half(k_bhsm, v_bhsv):
        s_bhmv = wide_product(k_bhsm.mT, v_bhsv)
    else:
        s_bhmv = k_bhsm.to(dtype).mT @ v_bhsv.to(dtype)
    return LinearState(s_bhmv, k_bhsm.sum(2, dtype=dtype) if normalize else None)


def initial_sums(q_bhlm: Tensor, v_bhsv: Tensor, state: LinearState | None, normalize: bool) -> LinearState:
    """Return the state to start from: the one given, or zeros; without z where nothing is normalised."""
    if state is not None:
        return LinearState(state.s_bhmv, state.z_bhm if normalize else None)
    batch, heads, _, width = q_bhlm.shape
    dtype = accumulation_dtype(q_bhlm.dtype)
    s = q_bhlm.new_zeros(batch, heads, width, v_bhsv.shape[3], dtype=dtype)
    return LinearState(s, q_bhlm.new_zeros(batch, heads, width, dtype=dtype) if normalize else None)


def check_state(state: LinearState | None, q_bhlm: Tensor, v_bhsv: Tensor, normalize: bool) -> None:
    """Raise ValueError for a state that does not fit the heads, widths and dtype of a call, or lacks the z it needs."""
    if state is None:
        return
    shape = (*q_bhlm.shape[:2], q_bhlm.shape[-1], v_bhsv.shape[-1])
    if tuple(state.s_bhmv.shape) != shape:
        raise ValueError(f"state.s_bhmv has shape {tuple(state.s_bhmv.shape)}; expected (B, H, M, V) = {shape}")
    wanted = accumulation_dtype(q_bhlm.dtype)
    if state.s_bhmv.dtype != wanted:
        raise ValueError(f"state is {state.s_bhmv.dtype}; expected {wanted}, which sums of {q_bhlm.dtype} are held in")
    if normalize and state.z_bhm is None:
        raise ValueError("state has no z_bhm: it comes from normalize=False; go on with normalize=False, or start anew")


def check_causal(causal: bool, length: int, keys: int) -> None:
    """Raise ValueError for a causal call whose queries are not those of its keys."""
    if causal and length != keys:
        raise ValueError(
            f"causal linear attention needs as many queries as keys, but got L = {length}, S = {keys}; "
            "pass the earlier keys as `state`"
        )
