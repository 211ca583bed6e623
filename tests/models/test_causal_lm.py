"""The causal language model: labels, padding and the logits that are kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers.mixers import Dense, Linear, Pool, Softmax
from formers.testing import assert_same

MASK = torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [1] * 9 + [0] * 4])


def test_labels_are_shifted(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    labels = ids.clone()
    labels[0, :6] = -100
    out = model(ids, labels=labels)
    logits, targets = out.logits[:, :-1], labels[:, 1:]
    chosen = logits.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    assert_same(out.loss, -chosen[targets != -100].mean(), "loss")


def test_only_the_last_logits(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    assert_same(model(ids, logits_to_keep=2).logits, model(ids).logits[:, -2:], "last logits")
    assert_same(model(ids, logits_to_keep=torch.tensor([1, 5])).logits, model(ids).logits[:, [1, 5]], "chosen logits")


@pytest.mark.parametrize("mixer", [Softmax(), Linear(), Dense(), Pool()], ids=str)
def test_padding_changes_no_gradient_of_the_loss(mixer: Any, causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm(mixer=mixer, position="none")
    labels = ids.masked_fill(MASK == 0, -100)
    labels[1, 5] = -100  # what stands before the first real token predicts nothing
    padded = gradients(model, model(ids.where(MASK.bool(), 28), attention_mask=MASK, labels=labels).loss)
    rows = [ids[b : b + 1, MASK[b].bool()] for b in range(3)]
    counts = [row.shape[1] - 1 for row in rows]
    losses = [model(row, labels=row).loss * n for row, n in zip(rows, counts, strict=True)]
    alone = gradients(model, sum(losses) / sum(counts))
    for (name, _), got, want in zip(model.named_parameters(), padded, alone, strict=True):
        assert_same(got, want, f"gradient of {name}", 1e-12)


def gradients(model: torch.nn.Module, loss: Any) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()))
