"""The masked language model: labels, and padding where a mixer cannot leave it out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from formers import MaskedLM, Unsupported
from formers.mixers import Fourier
from formers.testing import assert_same

MASK = torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [1] * 9 + [0] * 4])


def test_masked_labels_are_not_shifted(config: Any, ids: torch.Tensor) -> None:
    model = MaskedLM(config()).double().eval()
    labels = torch.full_like(ids, -100)
    labels[:, 3:5] = ids[:, 3:5]
    out = model(ids, labels=labels)
    assert_same(out.loss, F.cross_entropy(out.logits[:, 3:5].flatten(0, 1), ids[:, 3:5].flatten()), "loss")


def test_fourier_refuses_padding(config: Any, ids: torch.Tensor) -> None:
    model = MaskedLM(config(mixer=Fourier(), position="none"))
    model(ids, attention_mask=torch.ones_like(ids))
    with pytest.raises(Unsupported, match=r"cannot leave out padding.*Batch sequences of equal length"):
        model(ids, attention_mask=MASK)
