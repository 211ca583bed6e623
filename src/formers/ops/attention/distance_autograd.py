"""Attention with terms by distance in operations that autograd knows: for derivatives of any order."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.attention.distance_tiles import DistancePlan


def attention_of_pairs(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    c: Tensor | None,
    a: Tensor | None,
    b: Tensor | None,
    u: Tensor | None,
    *,
    hidden: Tensor | None,
    plan: DistancePlan,
) -> tuple[Tensor]:
    """Return y, (N, L, V), of the inputs of `DistanceInputs`.

    Cost: O(L·S) memory, for all pairs at once.
    """
    row, key = torch.arange(plan.rows, device=q.device), torch.arange(plan.keys, device=q.device)
    distance_ls = key - row[:, None] + plan.first
    seen = (distance_ls >= plan.seen.least) & (distance_ls <= plan.seen.most)
    seen = seen.unsqueeze(0) if hidden is None else seen & ~hidden
    count = next((t.shape[1] for t in (a, b, u) if t is not None), 0)
    known_ls = (distance_ls >= plan.low) & (distance_ls < plan.low + count)
    entry_nls = (distance_ls - plan.low).clamp(0, max(count - 1, 0)).expand(len(q), -1, -1)
    s = q @ k.mT * plan.scale
    if c is not None and a is not None and count:
        s = s + (c @ a.mT).gather(2, entry_nls).where(known_ls, 0)
    if b is not None and count:
        s = s + b.unsqueeze(1).expand(-1, plan.rows, -1).gather(2, entry_nls).where(known_ls, 0)
    s = s.masked_fill(~seen, -torch.inf)
    empty = (s == -torch.inf).all(2, keepdim=True)
    p = (s.masked_fill(empty, 0)).softmax(2).masked_fill(empty, 0)
    y = p @ v
    if u is not None and count:
        sums = p.new_zeros(len(q), plan.rows, count).scatter_add(2, entry_nls, p.where(known_ls, 0))
        y = y + sums @ u
    return (y,)
