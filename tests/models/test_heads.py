"""What the heads compute: losses, pooling, outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer, Unsupported
from formers.mixers import Dense, Fourier, Linear, Pool, Softmax
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


def test_masked_labels_are_not_shifted(config: Any, ids: torch.Tensor) -> None:
    model = MaskedLM(config()).double().eval()
    labels = torch.full_like(ids, -100)
    labels[:, 3:5] = ids[:, 3:5]
    out = model(ids, labels=labels)
    assert_same(out.loss, F.cross_entropy(out.logits[:, 3:5].flatten(0, 1), ids[:, 3:5].flatten()), "loss")


def test_token_classifier(config: Any, ids: torch.Tensor) -> None:
    model = TokenClassifier(config(num_labels=4)).double().eval()
    labels = (ids % 4).masked_fill(MASK == 0, -100)
    out = model(ids, attention_mask=MASK, labels=labels)
    assert out.logits.shape == (3, 13, 4)
    real = MASK.bool()
    assert_same(out.loss, F.cross_entropy(out.logits[real], (ids % 4)[real]), "loss")


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


@pytest.mark.parametrize(
    "head", [CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer], ids=lambda h: h.__name__
)
def test_every_head_speaks_hugging_face(head: Any, config: Any, ids: torch.Tensor) -> None:
    model = head(config()).double().eval()
    whole = model(input_ids=ids, output_hidden_states=True)
    assert len(whole.hidden_states) == 3, "what enters both layers, and the last"
    embedded = model(inputs_embeds=model.get_input_embeddings()(ids))
    assert_same(embedded[0], model(ids)[0], "output for embeddings instead of ids")
    as_tuple = model(input_ids=ids, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert_same(as_tuple[0], whole[0], "first of the tuple")
    assert_same(model(ids, position_ids=torch.arange(13)[None])[0], whole[0], "output with positions")
    with pytest.raises(Unsupported, match="no attention weights"):
        model(input_ids=ids, output_attentions=True)


def test_ids_or_embeddings(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))


def test_only_the_last_logits(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    assert_same(model(ids, logits_to_keep=2).logits, model(ids).logits[:, -2:], "last logits")
    assert_same(model(ids, logits_to_keep=torch.tensor([1, 5])).logits, model(ids).logits[:, [1, 5]], "chosen logits")


def test_tied_logits_are_products_with_the_embedding(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    hidden = model.model(ids).last_hidden_state
    assert_same(model(ids).logits, hidden @ model.model.embed_tokens.weight.T, "logits")


def test_the_loss_is_taken_in_float32(config: Any, ids: torch.Tensor) -> None:
    model = CausalLM(config()).bfloat16().eval()
    out = model(ids, labels=ids)
    assert out.loss.dtype == torch.float32
    assert_same(out.loss, F.cross_entropy(out.logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten()), "loss")


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


def test_fourier_refuses_padding(config: Any, ids: torch.Tensor) -> None:
    model = MaskedLM(config(mixer=Fourier(), position="none"))
    model(ids, attention_mask=torch.ones_like(ids))
    with pytest.raises(Unsupported, match=r"cannot leave out padding.*Batch sequences of equal length"):
        model(ids, attention_mask=MASK)
