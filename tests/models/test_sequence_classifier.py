"""The classifier of sequences: pooling, classes and numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import SequenceClassifier
from formers.testing import assert_same

MASK = torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [1] * 9 + [0] * 4])


@pytest.mark.parametrize("causal", [True, False])
def test_sequence_classifier_pools_real_tokens(causal: bool, config: Any, ids: torch.Tensor) -> None:
    model = SequenceClassifier(config(num_labels=4, causal=causal)).double().eval()
    got = model(ids, attention_mask=MASK).logits
    for row in range(3):
        alone = ids[row : row + 1, MASK[row].bool()]
        assert_same(got[row : row + 1], model(alone).logits, f"logits of row {row}")
        hidden = model.model(alone).last_hidden_state[0]
        assert_same(got[row], model.score(hidden[-1] if causal else hidden.mean(0)), f"logits of row {row}")


def test_losses_of_classes_and_numbers(config: Any, ids: torch.Tensor) -> None:
    classes = SequenceClassifier(config(num_labels=4)).double().eval()
    out = classes(ids, labels=torch.tensor([0, 3, 1]))
    assert_same(out.loss, -out.logits.log_softmax(-1)[range(3), [0, 3, 1]].mean(), "loss")
    number = SequenceClassifier(config(num_labels=1)).double().eval()
    out = number(ids, labels=torch.tensor([0.5, 3.0, 1.0]))
    assert_same(out.loss, (out.logits[:, 0] - torch.tensor([0.5, 3.0, 1.0])).square().mean(), "loss")
