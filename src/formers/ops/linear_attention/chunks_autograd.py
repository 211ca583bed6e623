"""Causal linear attention chunk after chunk in operations that autograd knows: for derivatives of any order.

The formulas are those of `chunks`; nothing is overwritten, and the graph keeps the scores and the state of each chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.linear_attention.chunks import CHUNK
from formers.ops.linear_attention.normalizer import safe_divisor


def chunk_by_chunk(
    q: Tensor, k: Tensor, v: Tensor, s: Tensor, z: Tensor | None, log_g: Tensor | None, floor: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return y and the state (S, z or None) after the last token, given the state before the first.

    Cost: time as `chunked`; with its graph, O(L (C + M + V)) memory and O(L/C) states of M V numbers, C tokens a chunk.
    """
    ys = []
    for start in range(0, q.shape[2], CHUNK):
        here = slice(start, start + CHUNK)
        q_in, k_out, v_here = (t[:, :, here].to(s.dtype) for t in (q, k, v))
        scores = (q_in @ k_out.mT).tril()
        if log_g is not None:
            decay = _between(log_g[:, :, here].to(s.dtype))
            scores = scores * decay[..., 1:]
            q_in, k_out = q_in * decay[..., :1], k_out * decay[..., -1:, 1:].mT
        y = scores @ v_here + q_in @ s
        if z is not None:
            y = y / safe_divisor(scores.sum(-1, keepdim=True) + q_in @ z.unsqueeze(-1), floor)
        ys.append(y)
        if log_g is not None:
            whole = decay[..., -1:, :1]
            s, z = whole * s, None if z is None else whole.squeeze(-1) * z
        s = s + k_out.mT @ v_here
        z = None if z is None else z + k_out.sum(2)
    return torch.cat(ys, 2).to(v.dtype), s, z


def _between(log_g_bhc: Tensor) -> Tensor:
    """Return the decay from before the chunk, and from each token j, to each token i, (B, H, i, 1 + j); 0 for j > i.

    Sums of log g over runs of tokens, never differences of such sums: log g = −∞ gives zeros, with gradients of zero.
    """
    chunk = log_g_bhc.shape[2]
    later = torch.ones(
        chunk, chunk + 1, dtype=torch.bool, device=log_g_bhc.device
    ).tril()  # token l ≥ column j: l > j − 1
    log_g = log_g_bhc.unsqueeze(-1).where(later, 0)
    seen = torch.ones_like(later).tril(1)
    return log_g.cumsum(2).exp().where(seen, 0)
