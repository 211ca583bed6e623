"""Linear attention from its formulas: any dtype, O(L²) or token by token. The fast forms are tested against these."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.linear_attention.inputs import Similarity
from formers.ops.linear_attention.state import LinearState

LEAST_SQUARE = 1e-12
"""Added to the square of a length that is divided by."""


def linear_attention(
    q_bhlm: Tensor,
    k_bhsm: Tensor,
    v_bhsv: Tensor,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    state: LinearState | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
    log_decay_bhl: Tensor | None = None,
    feature: str = "identity",
) -> tuple[Tensor, LinearState]:
    """Return y_i = (q_i·S₀ + Σ_j (q_i·k_j) v_j) / (q_i·z₀ + Σ_j q_i·k_j), j ≤ i when causal, and the state after."""
    work = torch.promote_types(q_bhlm.dtype, torch.float32)
    q, k, v = q_bhlm.to(work), k_bhsm.to(work), v_bhsv.to(work)
    seen = torch.ones_like(k[:, :1, :, :1], dtype=torch.bool) if key_mask_bs is None else key_mask_bs[:, None, :, None]
    q, k, v = _feature(q, feature), _feature(k.where(seen, 0), feature).where(seen, 0), v.where(seen, 0)
    s_bhmv = k.new_zeros(*k.shape[:2], k.shape[3], v.shape[3]) if state is None else state.s_bhmv
    z_bhm = k.new_zeros(*k.shape[:2], k.shape[3]) if state is None or state.z_bhm is None else state.z_bhm
    if log_decay_bhl is not None:
        log_g = log_decay_bhl.to(work)
        log_g = log_g if key_mask_bs is None else log_g.where(key_mask_bs[:, None], 0)
        y, d, s_bhmv, z_bhm = _recurrence(q, k, v, log_g.exp(), s_bhmv, z_bhm)
    else:
        w_bhls = (q @ k.mT).tril() if causal else q @ k.mT
        y, d = w_bhls @ v + q @ s_bhmv, w_bhls.sum(-1, keepdim=True) + q @ z_bhm[..., None]
        s_bhmv, z_bhm = s_bhmv + k.mT @ v, z_bhm + k.sum(2)
    if not normalize:
        return y.to(q_bhlm.dtype), LinearState(s_bhmv, None)
    d = torch.where(d.abs() < floor, d.sign() * floor, d)
    y = torch.where(d == 0, 0, y / torch.where(d == 0, 1, d))
    return y.to(q_bhlm.dtype), LinearState(s_bhmv, z_bhm)


def kernel_attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    kernel: Similarity,
    causal: bool,
    key_mask_bs: Tensor | None,
    normalize: bool,
    scale: float,
) -> Tensor:
    """Return y_i = Σ_j a_ij v_j / Σ_j a_ij, a_ij = f(q_i·k_j·scale), over the real keys, j ≤ i when causal."""
    work = torch.promote_types(q_bhlk.dtype, torch.float32)
    q, k, v = q_bhlk.to(work), k_bhsk.to(work), v_bhsv.to(work)
    real = torch.ones_like(k[:, :1, :, :1], dtype=torch.bool) if key_mask_bs is None else key_mask_bs[:, None, :, None]
    k, v = k.where(real, 0), v.where(real, 0)
    w_bhls = kernel(q @ k.mT * scale).where(real.mT, 0)
    w_bhls = w_bhls.tril() if causal else w_bhls
    y, d = w_bhls @ v, w_bhls.sum(-1, keepdim=True)
    return (torch.where(d == 0, 0, y / torch.where(d == 0, 1, d)) if normalize else y).to(v_bhsv.dtype)


def windowed_linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    phi_q: Tensor,
    phi_k: Tensor,
    log_gain_h: Tensor | None,
    window: int,
    sinks: int,
    floor: float,
) -> Tensor:
    """Return y_i = Σ_j a_ij v_j / Σ_j a_ij over j ≤ i, a_ij = e^(s_ij − max s_i) near and g φ(q_i)·φ(k_j) far."""
    dtype, work = v.dtype, torch.promote_types(torch.promote_types(v.dtype, torch.float32), phi_k.dtype)
    q, k, v, phi_q, phi_k = (t.to(work) for t in (q, k, v, phi_q, phi_k))
    at = torch.arange(q.shape[2], device=q.device)
    seen, near = at <= at[:, None], (at[:, None] - at < window) | (at < sinks)
    scores = (q @ k.mT * q.shape[3] ** -0.5).masked_fill(~(seen & near), -torch.inf)
    gain = 1.0 if log_gain_h is None else log_gain_h.to(work).exp()[:, None, None]
    w_bhll = (scores - scores.amax(-1, keepdim=True)).exp() + (gain * (phi_q @ phi_k.mT)) * (seen & ~near)
    d = w_bhll.sum(-1, keepdim=True)
    d = torch.where(d.abs() < floor, d.sign() * floor, d)
    return (w_bhll @ v / d.masked_fill(d == 0, torch.inf)).to(dtype)


def _feature(x: Tensor, name: str) -> Tensor:
    match name:
        case "elu":
            return torch.where(x > 0, x + 1, x.clamp(max=0).exp())
        case "relu":
            return x.clamp(min=0)
        case "squared_relu":
            return x.clamp(min=0) ** 2
        case "exp":
            return x.exp()
    return x


def _recurrence(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return q_i·S_i and q_i·z_i of S_i = g_i S_{i−1} + k_i v_iᵀ and z_i = g_i z_{i−1} + k_i, and the last S and z."""
    ys, ds = [v[:, :, :0]], [v[:, :, :0, :1]]
    for i in range(q.shape[2]):
        g_i, k_i, v_i, q_i = g[:, :, i, None], k[:, :, i], v[:, :, i], q[:, :, i, None]
        s = g_i[..., None] * s + k_i[..., :, None] * v_i[..., None, :]
        z = g_i * z + k_i
        ys.append(q_i @ s)
        ds.append(q_i @ z[..., None])
    return torch.cat(ys, 2), torch.cat(ds, 2), s, z


def dense_attention(
    q_bhlk: Tensor,
    x_bhsk: Tensor,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    state: LinearState | None = None,
    order: str = "auto",
) -> tuple[Tensor, LinearState]:
    """Return (q xᵀ) x, over the past only when causal; `order` changes the rounding, so here it changes nothing."""
    return linear_attention(q_bhlk, x_bhsk, x_bhsk, causal, key_mask_bs, state, normalize=False)


def exp_features(x_bhlk: Tensor, w_mk: Tensor, shift_bhl: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return exp(w·x − shift), the shift being each row's largest w·x unless it is given."""
    p_bhlm = x_bhlk @ w_mk.detach().mT
    return (p_bhlm - (p_bhlm.detach().amax(-1) if shift_bhl is None else shift_bhl)[..., None]).exp().to(dtype)


def largest_exponents(x_bhlk: Tensor, w_mk: Tensor) -> Tensor:
    """Return max_m w_m·x."""
    return (x_bhlk @ w_mk.mT).amax(-1)


def fourier_features(x_bhlk: Tensor, w_ck: Tensor, dtype: torch.dtype) -> Tensor:
    """Return [sin w·x̂, cos w·x̂]/√C, x̂ = x/|x|."""
    x = x_bhlk.to(w_ck.dtype)
    unit = x / (x.square().sum(-1, keepdim=True) + LEAST_SQUARE).sqrt()  # smooth at zero, where F.normalize is not
    p_bhlc = unit @ w_ck.detach().mT
    return (torch.cat([p_bhlc.sin(), p_bhlc.cos()], -1) * len(w_ck) ** -0.5).to(dtype)
