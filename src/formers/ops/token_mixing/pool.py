"""Pooling as a mixer: the mean of the neighbours, minus the token itself."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.token_mixing import naive
from formers.ops.token_mixing.pool_shifted_sums import by_shifted_sums
from formers.ops.token_mixing.pool_state import PoolState


def pool_mix(
    x_bld: Tensor,
    *,
    window: int = 3,
    causal: bool = False,
    mask_bl: Tensor | None = None,
    state: PoolState | None = None,
    impl: str = "auto",
) -> tuple[Tensor, PoolState]:
    """Return y_i = mean of x over the window around i − x_i; what lies outside the sequence is not counted.

    Args:
        x_bld: (B, L, D).
        window: tokens in the window, odd unless causal.
        causal: pool the last `window` tokens, i itself included.
        mask_bl: (B, L) bool, True where a token is real. Neighbours are counted among the real tokens, wherever the
            padding is; masked positions give 0, and what they hold, NaN too, does not matter.
        state: what came before this call; needs causal.
        impl: "auto", "torch" or "naive".

    Returns:
        y (B, L, D) and the last `window` − 1 real tokens, which continue a causal sequence.

    Cost: O(L D window) time, O(L D) memory.
    Source: Yu et al. 2022 (PoolFormer, MetaFormer), arXiv:2111.11418.
    Raises `ValueError` for an even window that is not causal, a state without causal, or shapes that do not fit.
    """
    size = checks.sizes(x=(x_bld, "BLD"))
    checks.mask("mask_bl", mask_bl, size["B"], size["L"])
    if window < 1 or (not causal and window % 2 == 0):
        raise ValueError(f"window is {window}; expected a positive number, odd unless causal, so that it has a middle")
    if state is not None:
        if not causal:
            raise ValueError("a state was given, but only causal pooling continues one; use causal=True")
        wanted = (size["B"], window - 1, size["D"])
        if tuple(state.tokens_bwd.shape) != wanted:
            raise ValueError(f"state.tokens_bwd has shape {tuple(state.tokens_bwd.shape)}; expected {wanted}")
    return _FORMS.run(impl, PoolInputs(x_bld, window, causal, mask_bl, state), x_bld.device)


class PoolInputs(NamedTuple):
    """The checked inputs of `pool_mix`, as every form takes them."""

    x_bld: Tensor
    window: int
    causal: bool
    mask_bl: Tensor | None
    state: PoolState | None


_FORMS: Forms[PoolInputs, tuple[Tensor, PoolState]] = Forms(
    "pool_mix",
    Form("torch", by_shifted_sums),
    Form("naive", naive.pool_mix),
    preference={"cpu": ["torch"], "cuda": ["torch"]},
)
