"""Losses are the numbers of Hugging Face's heads on the same logits, in float32 or wider, or a clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
)

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier
from formers.models.losses import cross_entropy, next_token_loss, sequence_loss
from formers.testing import assert_same

B, L, V = 3, 5, 7
TOKENS = torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(1))
FLOAT32 = 2e-6  # rounding of losses of about 4, in float32
SOME = TOKENS.masked_fill(TOKENS == 2, -100)


class Fixed(nn.Module):
    """A head's last layer, which gives the logits that the test compares on."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _: Tensor) -> Tensor:
        return self.logits


def logits_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def bert(head: Any, logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """Return the loss of one of BERT's heads that has these logits."""
    options: dict[str, Any] = {} if head is BertForMaskedLM else {"num_labels": logits.shape[-1]}
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = head(BertConfig(vocab_size=V, problem_type=problem_type, **sizes, **options)).eval()
    setattr(model, "cls" if head is BertForMaskedLM else "classifier", Fixed(logits))
    loss: Tensor = model(TOKENS, labels=labels).loss
    return loss


def gpt2(logits: Tensor, labels: Tensor, count: Any = None) -> Tensor:
    """Return the loss of GPT-2's head that has these logits."""
    special = {"bos_token_id": None, "eos_token_id": None}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=8, n_layer=1, n_head=1, **special)).eval()
    model.lm_head, model.loss_type = Fixed(logits), "ForCausalLM"
    loss: Tensor = model(TOKENS, labels=labels, num_items_in_batch=count).loss
    return loss


def test_the_loss_is_taken_in_float32(config: Any, ids: Tensor) -> None:
    model = CausalLM(config()).bfloat16().eval()
    out = model(ids, labels=ids)
    assert out.loss.dtype == torch.float32
    assert_same(out.loss, F.cross_entropy(out.logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten()), "loss")


@pytest.mark.parametrize("count", [None, 4, torch.tensor(4)], ids=["mean", "int", "tensor"])
@pytest.mark.parametrize("labels", [TOKENS, SOME], ids=["all", "some"])
def test_next_tokens_are_gpt2s(labels: Tensor, count: Any) -> None:
    logits = logits_of(B, L, V)
    assert_same(next_token_loss(logits, labels, count), gpt2(logits, labels, count), "loss", FLOAT32)


@pytest.mark.parametrize("labels", [SOME, SOME.flatten(), SOME[..., None]], ids=["rows", "flat", "column"])
@pytest.mark.parametrize("head", [BertForMaskedLM, BertForTokenClassification], ids=lambda head: head.__name__)
def test_tokens_are_berts(head: Any, labels: Tensor) -> None:
    logits = logits_of(B, L, V)
    assert_same(cross_entropy(logits, labels), bert(head, logits, labels), "loss", FLOAT32)


CLASSES, NUMBERS = torch.tensor([0, 3, 1]), torch.tensor([0.5, -3.0, 1.0])
MANY = torch.tensor([[0.0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("num_labels", "problem_type", "labels"),
    [
        (4, None, CLASSES),
        (4, None, CLASSES[:, None]),
        (4, None, MANY),
        (4, "single_label_classification", CLASSES),
        (4, "multi_label_classification", MANY),
        (1, "multi_label_classification", MANY[:, 1:2]),
        (4, "regression", MANY - 0.3),
        (4, "regression", MANY.long()),
        (2, "regression", MANY[:, :2]),
        (1, None, NUMBERS),
        (1, None, NUMBERS[:, None]),
        (1, None, CLASSES),
        (1, None, CLASSES.int()),
        (1, "regression", NUMBERS[None]),
    ],
)
def test_sequences_are_berts(num_labels: int, problem_type: str | None, labels: Tensor) -> None:
    logits = logits_of(B, num_labels)
    want = bert(BertForSequenceClassification, logits, labels, problem_type)
    assert_same(sequence_loss(logits, labels, problem_type), want, "loss", FLOAT32)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8])
def test_integers_of_every_width_are_classes(dtype: torch.dtype) -> None:
    logits = logits_of(B, L, V)
    assert_same(next_token_loss(logits, SOME.to(dtype)), next_token_loss(logits, SOME), "loss")
    assert_same(sequence_loss(logits[:, 0], CLASSES.to(dtype)), sequence_loss(logits[:, 0], CLASSES), "loss")
    several = sequence_loss(logits[:, 0, :4], MANY, "multi_label_classification")
    for other in (MANY.bool(), MANY.to(dtype)):
        assert_same(sequence_loss(logits[:, 0, :4], other, "multi_label_classification"), several, "loss")


def test_numbers_keep_their_precision_beside_half_precision_logits() -> None:
    logits, numbers = logits_of(B, 1).bfloat16(), torch.tensor([1000.5, 1.0, 3.25])
    assert_same(sequence_loss(logits, numbers), F.mse_loss(logits.squeeze().float(), numbers), "loss")


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda: next_token_loss(logits_of(B, 2, V), TOKENS), r"\(3, 5\).*expected \(3, 2\).*logits_to_keep"),
        (lambda: next_token_loss(logits_of(B, L, V), TOKENS.flatten()), r"\(15,\).*expected \(3, 5\)"),
        (lambda: cross_entropy(logits_of(B, L, V), TOKENS.T), r"\(5, 3\).*expected \(3, 5\).*one class each"),
        (lambda: cross_entropy(logits_of(B, L, V), TOKENS.float()), r"float32; expected integers.*labels.long\(\)"),
        (lambda: cross_entropy(logits_of(B, L, V), TOKENS + 9), "there are 7 classes; give 0 to 6, or -100"),
        (lambda: cross_entropy(logits_of(B, L, V), TOKENS - 1), "labels go from -1 to 5"),
        (lambda: sequence_loss(logits_of(B, 4), MANY.long()), 'problem_type="multi_label_classification"'),
        (lambda: sequence_loss(logits_of(B, 4), NUMBERS), r"expected \(3, 4\): multi_label.*their dtype means"),
        (lambda: sequence_loss(logits_of(B, 2), NUMBERS, "regression"), r"expected \(3, 2\): regression.*was set"),
        (lambda: sequence_loss(logits_of(B, 2), NUMBERS, "ranking"), "but 'ranking' was given"),
    ],
)
def test_other_labels_are_errors(loss: Callable[[], Tensor], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        loss()


def test_heads_hand_labels_to_their_losses(config: Any, ids: Tensor) -> None:
    model = CausalLM(config()).eval()
    out = model(ids, labels=ids[:, -4:].int(), logits_to_keep=4, num_items_in_batch=5)
    assert_same(out.loss, next_token_loss(out.logits, ids[:, -4:], 5), "loss of kept tokens", FLOAT32)
    for head in (MaskedLM, TokenClassifier):
        out = head(config(num_labels=29)).eval()(ids, labels=ids, num_items_in_batch=5)
        assert_same(out.loss, cross_entropy(out.logits, ids, 5), head.__name__)
    classifier = SequenceClassifier(config(num_labels=4, problem_type="multi_label_classification")).eval()
    out = classifier(ids, labels=MANY, num_items_in_batch=5)
    assert_same(out.loss, F.binary_cross_entropy_with_logits(out.logits, MANY, reduction="sum") / 5, "several")
    assert SequenceClassifier(config(num_labels=4)).eval()(ids, labels=MANY).loss.isfinite()


def trainer(model: Any, data: list[dict[str, Tensor]], folder: Path, **options: Any) -> Trainer:
    """Return Hugging Face's trainer on data in order, without reports and files."""
    arguments = {"output_dir": str(folder), "report_to": [], "save_strategy": "no", "use_cpu": True}
    arguments |= {"disable_tqdm": True, "train_sampling_strategy": "sequential", "learning_rate": 1e-2}
    return Trainer(model=model, args=TrainingArguments(**arguments | options), train_dataset=data)


class Renamed(CausalLM):
    """A causal model of another class."""


@pytest.mark.parametrize("head", [CausalLM, Renamed, MaskedLM], ids=lambda head: head.__name__)
def test_label_smoothing_shifts_the_labels_of_causal_models(
    head: Any, config: Any, ids: Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = head(config()).eval()
    labels = ids.masked_fill(ids % 5 == 0, -100)
    logits = model(ids).logits
    if head is not MaskedLM:
        logits, wanted = logits[:, :-1], labels[:, 1:]
    else:
        wanted = labels
    want = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), label_smoothing=0.1)
    smoothed = trainer(model, [], tmp_path, label_smoothing_factor=0.1)
    assert_same(smoothed.compute_loss(model, {"input_ids": ids, "labels": labels}), want, "loss", FLOAT32)
    count = smoothed._get_num_items_in_batch([{"labels": labels}], torch.device("cpu"))
    assert count == (wanted != -100).sum()


def uneven(head: Any, ids: Tensor, row: int) -> Tensor:
    """Return the labels of one row, of which there are more in some rows than in others."""
    if head is SequenceClassifier:
        return MANY[row % 3]
    return ids.masked_fill(torch.arange(len(ids)) > 2 + row, -100)


@pytest.mark.parametrize(
    "head", [CausalLM, MaskedLM, TokenClassifier, SequenceClassifier], ids=lambda head: head.__name__
)
def test_micro_batches_train_as_the_whole_batch(head: Any, config: Any, tmp_path: Path) -> None:
    rows = torch.randint(0, 29, (16, 13), generator=torch.Generator().manual_seed(2))
    data = [{"input_ids": ids, "labels": uneven(head, ids, row % 8)} for row, ids in enumerate(rows)]
    trained = []
    for size in (8, 2):
        torch.manual_seed(0)
        model = head(config(num_labels=4 if head is SequenceClassifier else 29))
        steps = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size, "max_steps": 2}
        trainer(model, data, tmp_path, optim="sgd", **steps).train()
        trained.append(dict(model.named_parameters()))
    for name, parameter in trained[0].items():
        assert_same(trained[1][name], parameter, f"{name} after two steps", 1e-6)
