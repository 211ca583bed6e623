"""Running sums over chunks: the state that each chunk starts from, and the one after the last."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, bmm

from formers.ops.common.tracing import is_left_open
from formers.ops.common.workspace import Workspace


def running_sums(
    a_nxc: Tensor,
    b_ncy: Tensor,
    start: Tensor,
    decay_n11: Tensor | None = None,
    *,
    count: int,
    workspace: Workspace,
    name: str,
    backwards: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return for each chunk the sum of `start` and the products a b of every earlier chunk, and the sum of all.

    R_{n+1} = d_n R_n + a_n b_n from R_0 = `start` on, where d_n is the decay over chunk n, 1 unless it is given.

    Args:
        a_nxc, b_ncy: the factors of each chunk; n runs over sequences times chunks.
        start: (…, X, Y) with one entry for each sequence; the sum of all has its shape.
        decay_n11: the decay over each whole chunk.
        count: chunks in a sequence.
        workspace, name: the memory of the result.
        backwards: sum over every later chunk instead, from the last on.
    """
    first = start.reshape(-1, a_nxc.shape[1], b_ncy.shape[2])
    shape = (first.shape[0], count, a_nxc.shape[1], b_ncy.shape[2])
    if decay_n11 is None and (not workspace.enabled or a_nxc.shape[1] == 1):
        each, end = _cumulative(bmm(a_nxc, b_ncy).view(shape), first.unsqueeze(1), backwards)
        return each.flatten(0, 1), end.reshape(start.shape)
    if is_left_open(count) and decay_n11 is not None:
        each, end = _weighted(bmm(a_nxc, b_ncy).view(shape), first.unsqueeze(1), decay_n11.view(shape[:2]), backwards)
        return each.flatten(0, 1), end.reshape(start.shape)
    # On a CPU, cumsum goes down one column after another; adding whole matrices is several times faster. Each product
    # is written to where its sum belongs, one chunk on: the last of a sequence to where the next sequence starts.
    slots = workspace.empty(name, len(a_nxc) + 1, *shape[2:])
    steps, each = (slots[:-1], slots[1:]) if backwards else (slots[1:], slots[:-1])
    end = bmm(a_nxc, b_ncy, out=steps).view(shape)[:, 0 if backwards else -1].clone()
    in_time = each.view(shape).unbind(1)
    in_turn = in_time[::-1] if backwards else in_time
    in_turn[0].copy_(first)
    if decay_n11 is None:
        for before, after in pairwise(in_turn):
            after.add_(before)
        return each, end.add_(in_turn[-1]).view(start.shape)
    decays = decay_n11.view(-1, count, 1, 1).unbind(1)
    decays = decays[::-1] if backwards else decays
    for (before, after), decay in zip(pairwise(in_turn), decays[:-1], strict=True):
        after.addcmul_(before, decay)
    return each, end.addcmul_(in_turn[-1], decays[-1]).view(start.shape)


def _cumulative(steps: Tensor, first: Tensor, backwards: bool) -> tuple[Tensor, Tensor]:
    """Return the sums by `cumsum` along axis 1: what stands before each step, and the total."""
    sums = torch.cat([steps, first] if backwards else [first, steps], 1)
    sums = sums.flip(1).cumsum(1).flip(1) if backwards else sums.cumsum(1)
    return (sums[:, 1:], sums[:, 0]) if backwards else (sums[:, :-1], sums[:, -1])


def _weighted(steps: Tensor, first: Tensor, decay_bn: Tensor, backwards: bool) -> tuple[Tensor, Tensor]:
    """Return the decaying sums along axis 1 for any number of steps: what stands before each step, and the total.

    A graph has no loop over a count that it leaves open, so each sum is written out, R_n = Σ_{m ≤ n} Π_{m ≤ l < n} d_l
    x_m with x_0 = R_0 and then the steps: one product with a matrix of decays, O(N²) for N chunks of a sequence. Each
    of its entries is a product of decays, never a ratio, so that zeros are exact.
    """
    if backwards:
        each, end = _weighted(steps.flip(1), first, decay_bn.flip(1), False)
        return each.flip(1), end
    count = decay_bn.shape[1]
    later = torch.ones(count, count + 1, dtype=torch.bool, device=decay_bn.device).tril()  # step n decays x_m, m ≤ n
    factors = decay_bn.unsqueeze(2).where(later, 1).cumprod(1)
    weights = torch.cat([torch.ones_like(factors[:, :1]), factors], 1)
    seen = torch.ones(count + 1, count + 1, dtype=torch.bool, device=decay_bn.device).tril()
    sums = weights.where(seen, 0) @ torch.cat([first, steps], 1).flatten(2)
    sums = sums.unflatten(2, steps.shape[2:])
    return sums[:, :-1], sums[:, -1]
