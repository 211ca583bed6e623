"""Online k-means: centroids that follow the vectors they are shown in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from formers.ops import accumulation_dtype, without_autocast


class Centroids(nn.Module):
    """C unit vectors per head; similarity to each: (B, H, L, K) → (B, H, L, C).

    They are buffers that start at random, so that evaluation works before training, and follow in training only: μ
    becomes the direction of decay·μ + (1 − decay)·(mean of the vectors nearest to it), at the first step of that mean
    alone. This happens once in each backward pass, not in the forward pass: there it would let a token's cluster depend
    on the others, and a forward pass that is repeated see other centroids. Means are over all ranks.
    Source: Roy et al. 2021 (Routing Transformer), arXiv:2003.05997.
    """

    mu_hck: Tensor
    steps: Tensor

    def __init__(self, heads: int, clusters: int, width: int, decay: float):
        super().__init__()
        self.decay = decay
        self.register_buffer("mu_hck", torch.empty(heads, clusters, width))
        self.register_buffer("steps", torch.empty((), dtype=torch.long))
        self.init_weights(0.0)

    def forward(self, x_bhlk: Tensor) -> Tensor:
        with without_autocast(x_bhlk.device):
            work = accumulation_dtype(x_bhlk.dtype)
            return x_bhlk.to(work) @ self.mu_hck.to(work).mT

    def learn_from(self, *vectors_bhlk: Tensor, mask_bl: Tensor | None) -> None:
        """Let the centroids follow these vectors when the gradient of the first ones arrives, in training."""
        first = vectors_bhlk[0]
        if self.training and first.requires_grad and torch.is_grad_enabled():
            shown = torch.cat([x.detach() for x in vectors_bhlk], 2)
            mask_bl = None if mask_bl is None else torch.cat([mask_bl] * len(vectors_bhlk), 1)
            first.register_hook(lambda gradient: self.move_towards(shown, mask_bl))

    def distance(self, *vectors_bhlk: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Return the mean |x/|x| − μ|² to the nearest centroids, between 0 and 4; padding does not count.

        Its gradient draws vectors to their centroids, and leaves these where they are.
        """
        unit_bhlk = torch.cat([F.normalize(x.to(accumulation_dtype(x.dtype)), dim=-1) for x in vectors_bhlk], 2)
        apart_bhl = 2 - 2 * self(unit_bhlk).amax(-1)  # of unit vectors, |x − μ|² = 2 − 2 x·μ
        if mask_bl is None:
            return apart_bhl.mean()
        real_b1l = torch.cat([mask_bl] * len(vectors_bhlk), 1).unsqueeze(1)
        return apart_bhl.where(real_b1l, 0).sum() / (real_b1l.sum() * apart_bhl.shape[1]).clamp(min=1)

    @torch.no_grad()
    def move_towards(self, x_bhlk: Tensor, mask_bl: Tensor | None) -> None:
        """Move each centroid towards the mean of the vectors nearest to it."""
        x = x_bhlk.to(self.mu_hck.dtype)
        scores = self(x)
        x = x.to(accumulation_dtype(x.dtype))  # half types count no further than to some thousands
        nearest = torch.zeros_like(scores, dtype=x.dtype).scatter_(-1, scores.argmax(-1, keepdim=True), 1)
        if mask_bl is not None:
            nearest = nearest * mask_bl[:, None, :, None]
        sums, counts = torch.einsum("bhlc,bhlk->hck", nearest, x), nearest.sum((0, 2)).unsqueeze(-1)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(counts)
        mean = sums / counts.clamp(min=1)
        keep = torch.where(self.steps == 0, 0.0, self.decay)
        moved = F.normalize(keep * self.mu_hck + (1 - keep) * F.normalize(mean, dim=-1), dim=-1)
        self.mu_hck.copy_(torch.where(counts > 0, moved, self.mu_hck))
        self.steps += 1

    @torch.no_grad()
    def init_weights(self, std: float) -> None:
        self.mu_hck.copy_(F.normalize(torch.randn_like(self.mu_hck), dim=-1))
        self.steps.zero_()
