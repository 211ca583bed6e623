"""The classifier of tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from formers import TokenClassifier
from formers.testing import assert_same

MASK = torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [1] * 9 + [0] * 4])


def test_token_classifier(config: Any, ids: torch.Tensor) -> None:
    model = TokenClassifier(config(num_labels=4)).double().eval()
    labels = (ids % 4).masked_fill(MASK == 0, -100)
    out = model(ids, attention_mask=MASK, labels=labels)
    assert out.logits.shape == (3, 13, 4)
    real = MASK.bool()
    assert_same(out.loss, F.cross_entropy(out.logits[real], (ids % 4)[real]), "loss")
