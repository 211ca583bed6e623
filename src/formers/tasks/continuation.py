"""Texts that a trained model goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from formers.part import evaluating, seeded

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def generate(model: PreTrainedModel, ids: Tensor, *, tokens: int, temperature: float = 0.8, seed: int = 0) -> Tensor:
    """Continue a prompt (L,) by sampling; the same seed gives the same text.

    Temperature 0 takes the likeliest token.
    """
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    with seeded(seed, model.device), evaluating(model):
        prompt = ids[None].to(model.device)
        out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, **sampling)
        return out[0].cpu()
