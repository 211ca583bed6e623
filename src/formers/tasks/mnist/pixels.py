"""Images as sequences of pixels: what a model reads, what it continues, and what no model is needed for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from formers.part import evaluating, seeded
from formers.tasks.task import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IGNORED = -100
_LEVELS = 256
_ROWS = 64
"""Images that are continued at once."""


def example_of(images_xl: Tensor, given: int) -> Example:
    """Return images, (…, L) in uint8, as the model reads them: each token before its pixel, a black one in front.

    The first `given` pixels are no labels.
    """
    pixels = images_xl.long()
    labels = pixels.clone()
    labels[..., :given] = IGNORED
    return {"input_ids": before(pixels), "labels": labels}


def before(pixels_xl: Tensor) -> Tensor:
    """Return the pixel before each pixel; a black one before the first."""
    return torch.cat([torch.zeros_like(pixels_xl[..., :1]), pixels_xl[..., :-1]], -1)


def generated(model: PreTrainedModel, images_nl: Tensor, given: int, seed: int) -> Tensor:
    """Return images, (N, L) in uint8, whose first `given` pixels are those of `images_nl`, the rest drawn by the model.

    The same seed gives the same images.
    """
    length, found = images_nl.shape[1], []
    with seeded(seed, model.device), evaluating(model):
        for images in images_nl.split(_ROWS):
            front = torch.zeros(len(images), 1, dtype=torch.long)
            prompt = torch.cat([front, images[:, :given].long()], 1).to(model.device)
            mask = torch.ones_like(prompt)
            out = model.generate(prompt, attention_mask=mask, max_new_tokens=length - given, do_sample=True, top_k=0)
            found.append(out[:, 1:].cpu())
    return torch.cat(found).to(torch.uint8)


def marginal_bits(train_nl: Tensor, test_nl: Tensor, given: int) -> float:
    """Return the bits per pixel of test images by the frequency of each value at each place of the training images.

    Every value counts as seen once more than it was.
    """
    length = train_nl.shape[1]
    place = torch.arange(length) * _LEVELS
    counts = torch.bincount((train_nl.long() + place).flatten(), minlength=length * _LEVELS).view(length, _LEVELS) + 1
    bits = -(counts.double() / counts.sum(1, keepdim=True)).log() / math.log(2)
    return bits.flatten()[test_nl.long() + place][:, given:].mean().item()
