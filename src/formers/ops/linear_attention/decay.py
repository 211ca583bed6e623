"""Decay inside a chunk: products of the factors g ≤ 1 over runs of tokens, and the gradient of log g.

All products are made of factors, never as exp(c_i − c_j) of running sums nor as a ratio of running products: nothing
overflows, nothing small divides, and g = 0 or 1 is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.common.workspace import Workspace


class ChunkDecay(NamedTuple):
    """The decay inside each of N chunks of C tokens.

    Attributes:
        between_ncc: from token j to token i, Π_{j<l≤i} g_l for j ≤ i; zeros above the diagonal.
        since_start_nc1: from before the chunk to each token, Π_{l≤i} g_l.
        to_end_nc1: from each token to the end of the chunk, Π_{l>j} g_l.
    """

    between_ncc: Tensor
    since_start_nc1: Tensor
    to_end_nc1: Tensor

    @property
    def whole_n11(self) -> Tensor:
        """Return the decay over the whole chunk, (N, 1, 1)."""
        return self.since_start_nc1[:, -1:]


def chunk_decay(log_g_nc: Tensor, workspace: Workspace) -> ChunkDecay:
    """Return the decay inside chunks, made by doubling: O(N C²) multiplications and O(N C) exponentials.

    The products inside two neighbouring runs of h tokens give those across the middle m between them,

        Π_{j<l≤i} g_l = Π_{j<l≤m} g_l · Π_{m<l≤i} g_l,

    the last row of the first run times the first column of the second, which lacks its own first factor.
    """
    count, chunk = log_g_nc.shape
    size = 1 << (chunk - 1).bit_length()
    g_nc = pad(log_g_nc, (0, size - chunk)).exp()
    between = workspace.empty("decay", count, size, size).zero_()
    between.diagonal(0, 1, 2).fill_(1)
    half = 1
    while half < size:
        runs = size // (2 * half)
        squares = between.view(count, runs, 2 * half, runs, 2 * half).diagonal(0, 1, 3).movedim(3, 1)
        to_middle = squares[:, :, half - 1, :half]
        since_middle = squares[:, :, half:, half] * g_nc.view(count, runs, 2 * half)[:, :, half, None]
        squares[:, :, half:, :half] = since_middle.unsqueeze(3) * to_middle.unsqueeze(2)
        half *= 2
    between = between[:, :chunk, :chunk]
    return ChunkDecay(between, between[:, :, :1] * g_nc[:, :1, None], between[:, -1, :, None])


def log_decay_gradient(pairs_ncc: Tensor, to_queries_nc: Tensor, from_keys_nc: Tensor, whole_n1: Tensor) -> Tensor:
    """Return the gradient of log g, (N, C): the sum of all that each token's factor multiplies.

    Nothing else enters: a difference of two sums over all pairs would equal it, but lose it under a strong decay.

    Args:
        pairs_ncc: weight times its gradient for each pair j < i; the diagonal and above are not read.
        to_queries_nc: the same for the state before the chunk and each query.
        from_keys_nc: for each key and the state after the chunk.
        whole_n1: for the state before and the state after.
    """
    count, chunk, _ = pairs_ncc.shape
    earlier_jl = torch.ones(chunk, chunk, dtype=pairs_ncc.dtype, device=pairs_ncc.device).triu(1)
    before = torch.mm(pairs_ncc.reshape(count * chunk, chunk), earlier_jl)  # (i, l): the sum over j < l
    across = before.view(count, chunk, chunk).tril_().sum(1)  # over i ≥ l
    to_queries = to_queries_nc.flip(1).cumsum(1).flip(1)
    from_keys = pad(from_keys_nc[:, :-1], (1, 0)).cumsum(1)
    return across + to_queries + from_keys + whole_n1
