"""Linear attention with a decay per step: what came before fades by a factor that each token sets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.linear_attention.chunked import guarded_reciprocal
from formers.ops.linear_attention.linear_attention import check_causal, check_state, start, zero_masked
from formers.ops.types import LinearState

_CHUNK = 64
"""The most tokens in a chunk."""


def decayed_linear_attention(
    q_bhlm: Tensor,
    k_bhlm: Tensor,
    v_bhlv: Tensor,
    log_decay_bhl: Tensor,
    *,
    key_mask_bl: Tensor | None = None,
    state: LinearState | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
    impl: str = "auto",
) -> tuple[Tensor, LinearState]:
    """S_i = g_i S_{i−1} + k_i v_iᵀ, z_i = g_i z_{i−1} + k_i, y_i = q_i·S_i / q_i·z_i, with log g given. Causal.

    Args:
        q_bhlm, k_bhlm: features of queries and keys (B, H, L, M): the feature map is already applied.
        v_bhlv: values (B, H, L, V).
        log_decay_bhl: log g ≤ 0, (B, H, L), in the dtype of q or float32.
        key_mask_bl: (B, L) bool, True where a token is real; a masked one neither decays nor adds.
        state, normalize, floor: as in `linear_attention`.
        impl: "auto", "torch" (chunked) or "naive" (from the formula, O(L²)).

    Returns:
        y (B, H, L, V) in the dtype of q, and the state after the last key, in float32 or wider.

    Cost: O(L M V + L C (M + V)) with chunks of C tokens. Sums, states and decays are float32 for half types.
    Source: Peng et al. 2021 (gated RFA), arXiv:2103.02143; chunks: Yang et al. 2024, arXiv:2312.06635.
    Raises `ValueError` for shapes, dtypes, masks or states that do not fit.
    """
    size = checks.sizes(q=(q_bhlm, "BHLM"), k=(k_bhlm, "BHSM"), v=(v_bhlv, "BHSV"), log_decay=(log_decay_bhl, "BHS"))
    checks.same_dtype(q=q_bhlm, k=k_bhlm, v=v_bhlv)
    checks.mask("key_mask_bl", key_mask_bl, size["B"], size["S"])
    check_causal(True, size["L"], size["S"])
    check_state(state, q_bhlm, v_bhlv, normalize)
    k, v = zero_masked(k_bhlm, key_mask_bl), zero_masked(v_bhlv, key_mask_bl)
    g = log_decay_bhl.to(accumulation_dtype(q_bhlm.dtype))
    g = g if key_mask_bl is None else g.masked_fill(~key_mask_bl.unsqueeze(1), 0)
    form = pick("decayed_linear_attention", impl, {"torch": chunked, "naive": plain})
    s, z = start(q_bhlm, v_bhlv, state, normalize)
    with without_autocast(q_bhlm.device):
        y, s, z = form(q_bhlm.to(g.dtype), k.to(g.dtype), v.to(g.dtype), g, s, z, floor)
    return y.to(q_bhlm.dtype), LinearState(s, z)


def plain(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor, z: Tensor | None, floor: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The recurrence, token by token."""
    ys = []
    for i in range(q.shape[2]):
        decay = g[:, :, i].exp()[..., None]
        s = decay[..., None] * s + k[:, :, i, :, None] * v[:, :, i, None, :]
        y = (q[:, :, i, None] @ s).squeeze(2)
        if z is not None:
            z = decay * z + k[:, :, i]
            d = (q[:, :, i] * z).sum(-1, keepdim=True)
            d = torch.where(d.abs() < floor, d.sign() * floor, d)
            y = torch.where(d == 0, 0, y / torch.where(d == 0, 1, d))
        ys.append(y)
    return torch.stack(ys, 2) if ys else v[:, :, :0], s, z


def chunked(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor, z: Tensor | None, floor: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inside a chunk with scores, (q kᵀ ⊙ decay between) v; what came before a chunk through the state at its start."""
    length, width = q.shape[2], v.shape[3]
    if z is not None:  # the normaliser is one more value, 1
        v, s = pad(v, (0, 1), value=1.0), torch.cat([s, z.unsqueeze(-1)], -1)
    count = max(-(-length // _CHUNK), 1)
    chunk = max(-(-length // count), 1)
    missing = count * chunk - length
    q, k, v = (pad(t, (0, 0, 0, missing)).unflatten(2, (count, chunk)) for t in (q, k, v))
    g = pad(g, (0, missing)).unflatten(2, (count, chunk))
    since = g.double().cumsum(-1)  # log decay from the chunk's start to each token; wide, as differences must be exact
    later = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).triu(1)
    between = (since.unsqueeze(-1) - since.unsqueeze(-2)).to(q.dtype).masked_fill(later, -torch.inf).exp()
    y = (q @ k.mT * between) @ v
    to_end, since = (since[..., -1:] - since).to(q.dtype).exp().unsqueeze(-1), since.to(q.dtype)
    added, kept = (k * to_end).mT @ v, since[..., -1].exp()[..., None, None]
    starts = []
    for i in range(count):
        starts.append(s)
        s = kept[:, :, i] * s + added[:, :, i]
    y = y + (q * since.exp().unsqueeze(-1)) @ torch.stack(starts, 2)
    y = y.flatten(2, 3)[:, :, :length]
    if z is None:
        return y, s, None
    return y[..., :width] * guarded_reciprocal(y[..., width:], floor), s[..., :width], s[..., width]
