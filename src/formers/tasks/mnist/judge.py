"""The judge: a small classifier of digits that says what a completed or generated image shows."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.part import seeded
from formers.tasks.mnist.images import LENGTHS, load_images

_PASSES, _ROWS, _RATE = 2, 100, 2e-3
"""Passes over the training images, images in a step, and the first learning rate, which falls to zero."""


class Judge(nn.Module):
    """Two convolutions and a linear layer, images (N, L) in uint8 → logits of the ten digits, (N, 10)."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side
        self.first = nn.Conv2d(1, 16, 5, stride=2 if side > 7 else 1, padding=2)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        smaller = -(-side // 2) if side > 7 else side
        self.score = nn.Linear(32 * (-(-smaller // 2)) ** 2, 10)

    def forward(self, images_nl: Tensor) -> Tensor:
        x = images_nl.float().div(127.5).sub(1).view(-1, 1, self.side, self.side)
        return self.score(F.relu(self.second(F.relu(self.first(x)))).flatten(1))

    @torch.no_grad()
    def probabilities(self, images_nl: Tensor) -> Tensor:
        """Return the probability of each digit, (N, 10), on the CPU."""
        return torch.cat([self(rows).softmax(-1) for rows in images_nl.cpu().split(1000)])


def trained_judge(path: str | None, length: int) -> Judge:
    """Return the judge for images of so many pixels, trained when it is first asked for.

    It sees the training split only, always in the same order from the same start: on one machine it is always the same.
    It takes some seconds, and has about 98 % of the test images right (28 × 28).
    """
    return _trained(path, length, load_images(path, length).sha256)


@lru_cache(maxsize=2)
def _trained(path: str | None, length: int, sha256: str) -> Judge:
    """Return the judge; the hash tells changed images from those it was trained on."""
    images, labels = load_images(path, length).train
    with seeded(0), torch.inference_mode(False), torch.enable_grad():
        judge = Judge(LENGTHS[length])
        optimizer = torch.optim.Adam(judge.parameters(), lr=_RATE)
        steps = _PASSES * -(-len(labels) // _ROWS)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
        for _ in range(_PASSES):
            for rows in torch.randperm(len(labels)).split(_ROWS):
                loss = F.cross_entropy(judge(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return judge.eval().requires_grad_(False)
