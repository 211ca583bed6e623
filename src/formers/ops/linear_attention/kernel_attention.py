"""Linear attention from its similarities, where tokens are fewer than features."""

from __future__ import annotations

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.common.padding import zero_masked
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.state import check_causal


def kernel_attention(
    a_bhls: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
) -> Tensor:
    """Return linear attention from a_ij = φ(q_i)·φ(k_j): y_i = Σ_j a_ij v_j / Σ_j a_ij, over j ≤ i when causal.

    Cheaper than `linear_attention` where tokens are fewer than features and the kernel φ(q)·φ(k) has a closed form.

    Args:
        a_bhls: similarities (B, H, L, S). What stands at masked pairs, NaN too, does not matter.
        v_bhsv, causal, key_mask_bs, normalize, floor: as in `linear_attention`.

    Returns:
        y (B, H, L, V) in the dtype of v. Sums are float32 for half types.

    Cost: O(L S V) time, O(L S) memory. Raises ValueError for shapes or masks that do not fit.
    """
    size = checks.sizes(a=(a_bhls, "BHLS"), v=(v_bhsv, "BHSV"))
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    dtype = accumulation_dtype(v_bhsv.dtype)
    a, v = a_bhls.to(dtype), zero_masked(v_bhsv, key_mask_bs).to(dtype)
    a = a if key_mask_bs is None else a.masked_fill(~key_mask_bs[:, None, None], 0)
    a = a.tril() if causal else a
    with without_autocast(v.device):
        y = a @ v
        if normalize:
            y = y / safe_divisor(a.sum(-1, keepdim=True), floor)
        return y.to(v_bhsv.dtype)
