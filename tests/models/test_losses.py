"""Losses are taken in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from formers import CausalLM
from formers.testing import assert_same


def test_the_loss_is_taken_in_float32(config: Any, ids: torch.Tensor) -> None:
    model = CausalLM(config()).bfloat16().eval()
    out = model(ids, labels=ids)
    assert out.loss.dtype == torch.float32
    assert_same(out.loss, F.cross_entropy(out.logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten()), "loss")
