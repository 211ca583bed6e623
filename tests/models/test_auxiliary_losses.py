"""Heads add the losses of their parts to that of the task: in training, once, however a step is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Trainer, TrainingArguments

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, TransformerConfig, Unsupported
from formers.mixers import Identity, Mixer
from formers.mixers.context import Context
from formers.mixers.identity import IdentityMixer
from formers.part import Site, State, add_loss, collect_losses
from formers.residuals import Reversible
from formers.testing import assert_same

Config = Callable[..., TransformerConfig]
DEPTH, SCALE, MEAN_POSITION = 2, 0.5, 6.0
ADDED = DEPTH * (SCALE + SCALE * MEAN_POSITION)


class CostlyMixer(IdentityMixer):
    """Passes tokens on scaled, and adds two losses: one that is a mean over real tokens, one that is not."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.scale = torch.nn.Parameter(torch.tensor(SCALE))

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        if self.training:
            real_bl = torch.ones_like(context.x_bld[..., 0]) if context.mask_bl is None else context.mask_bl
            add_loss("position", self.scale * (context.positions_bl * real_bl).sum() / real_bl.sum())
            add_loss("scale", self.scale * 1)
        y_bld, state = super().mix(context)
        return y_bld * self.scale, state


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> Mixer:
    """A mixer that is the identity's, with losses."""
    monkeypatch.setattr(Identity, "module", lambda _, site: CostlyMixer(site))
    return Identity()


@pytest.fixture
def model(config: Config, costly: Mixer) -> CausalLM:
    """A language model with losses of its own, in training."""
    torch.manual_seed(0)
    return CausalLM(config(mixer=costly, position="learned", depth=DEPTH)).double().train()


def gradients(model: Any, *losses: Tensor) -> dict[str, Tensor]:
    """Return the gradients after a backward pass from each loss."""
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def assert_gradients(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    for name, gradient in want.items():
        assert_same(got[name], gradient, f"gradient of {name}", tolerance)


@pytest.mark.parametrize("head", [CausalLM, MaskedLM, TokenClassifier, SequenceClassifier])
def test_every_head_adds_them_in_training_alone(config: Config, ids: Tensor, costly: Mixer, head: Any) -> None:
    torch.manual_seed(0)
    model = head(config(mixer=costly, position="learned", depth=DEPTH, num_labels=29)).double().eval()
    labels = ids[:, 0] if head is SequenceClassifier else ids
    alone = model(ids, labels=labels).loss
    assert_same(model.train()(ids, labels=labels).loss, alone + ADDED, "loss of a model in training")
    assert model(ids).loss is None


def test_micro_batches_add_up_to_the_step(model: CausalLM, ids: Tensor) -> None:
    labels = ids.masked_fill(ids < 9, -100)  # unlike numbers of labels in the micro-batches
    count = (labels[:, 1:] != -100).sum()
    want = model(ids, labels=labels).loss
    parts = [model(ids[i : i + 1], labels=labels[i : i + 1], num_items_in_batch=count).loss for i in range(len(ids))]
    assert_same(torch.stack(parts).sum(), want, "loss of a step in three micro-batches")
    assert_gradients(gradients(model, *parts), gradients(model, want))


@pytest.mark.parametrize("accumulated", [1, 2, 3])
def test_the_trainer_takes_the_same_step_in_micro_batches(
    model: CausalLM, ids: Tensor, tmp_path: Any, accumulated: int
) -> None:
    examples: Any = [{"input_ids": row, "labels": row} for row in ids.repeat(2, 1)]
    want = {name: -0.1 * g for name, g in gradients(model, model(ids, labels=ids).loss).items()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    options: dict[str, Any] = {"max_steps": 1, "learning_rate": 0.1, "optim": "sgd", "lr_scheduler_type": "constant"}
    options |= {"max_grad_norm": 0.0, "train_sampling_strategy": "sequential", "report_to": [], "disable_tqdm": True}
    args = TrainingArguments(
        str(tmp_path),
        per_device_train_batch_size=6 // accumulated,
        gradient_accumulation_steps=accumulated,
        use_cpu=True,
        save_strategy="no",
        **options,
    )
    Trainer(model, args, train_dataset=examples).train()
    assert_gradients({name: p.detach() - before[name] for name, p in model.named_parameters()}, want)


def test_packed_documents_count_once(model: CausalLM, ids: Tensor) -> None:
    lengths = [1, 2, 9, 13]
    texts = [ids[i % 3 : i % 3 + 1, :length] for i, length in enumerate(lengths)]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    out = model(torch.cat(texts, 1), position_ids=positions, labels=torch.cat(texts, 1))
    alone = model.eval()(torch.cat(texts, 1), position_ids=positions, labels=torch.cat(texts, 1)).loss
    added = DEPTH * SCALE * (1 + positions.double().mean())
    assert_same(out.loss, alone + added, "loss of rows of documents")


def test_checkpointing_changes_nothing_or_raises(model: CausalLM, ids: Tensor) -> None:
    want = gradients(model, model(ids, labels=ids).loss)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert_gradients(gradients(model, model(ids, labels=ids).loss), want)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(Unsupported, match=r"would have no gradient.*use_reentrant=False"):
        model(ids, labels=ids)


def test_reversible_layers_raise(config: Config, ids: Tensor, costly: Mixer) -> None:
    model = CausalLM(config(mixer=costly, position="learned", residual=Reversible())).train()
    with pytest.raises(Unsupported, match=r"would have no gradient.*another residual"):
        model(ids, labels=ids)
    assert model.eval()(ids, labels=ids).loss.isfinite()


def test_one_graph_holds_them(model: CausalLM, ids: Tensor) -> None:
    torch.compiler.reset()
    want = gradients(model, model(ids, labels=ids).loss)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_gradients(gradients(model, compiled(ids, labels=ids).loss), want)


HEADS = {
    CausalLM: {},
    MaskedLM: {},
    TokenClassifier: {"num_labels": 29},
    SequenceClassifier: {"num_labels": 4},
}


def smoothing(model: Any, folder: Any) -> Trainer:
    """Hugging Face's trainer that keeps the labels for a loss of its own."""
    options = {"output_dir": str(folder), "report_to": [], "use_cpu": True, "label_smoothing_factor": 0.1}
    return Trainer(model=model, args=TrainingArguments(**options))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_losses_that_label_smoothing_would_drop_are_refused(
    head: Any, config: Config, costly: Mixer, ids: Tensor, tmp_path: Any
) -> None:
    model = head(config(mixer=costly, position="learned", depth=DEPTH, **HEADS[head])).train()
    trainer, batch = (
        smoothing(model, tmp_path),
        {"input_ids": ids, "labels": ids if head is not SequenceClassifier else ids[:, 0] % 4},
    )
    with pytest.raises(Unsupported, match=r"'position'.*label_smoothing_factor"):
        trainer.compute_loss(model, batch.copy(), num_items_in_batch=torch.tensor(5))
    with collect_losses() as collected:  # somebody takes them
        trainer.compute_loss(model, batch.copy(), num_items_in_batch=torch.tensor(5))
    assert set(collected.by_name()) == {"position", "scale"}
    model.eval()
    assert trainer.compute_loss(model, batch.copy(), num_items_in_batch=torch.tensor(5)).isfinite()


def test_exits_that_label_smoothing_would_not_train_are_refused(config: Config, ids: Tensor, tmp_path: Any) -> None:
    batch = {"input_ids": ids, "labels": ids}
    aligned, mixed = (
        CausalLM(config(position="learned", computation=f"early_exit(training={how})")).train()
        for how in ("aligned", "mixed")
    )
    with pytest.raises(Unsupported, match=r"exits.*label_smoothing_factor"):
        smoothing(aligned, tmp_path).compute_loss(aligned, batch.copy(), num_items_in_batch=torch.tensor(5))
    assert smoothing(mixed, tmp_path).compute_loss(mixed, batch.copy(), num_items_in_batch=torch.tensor(5)).isfinite()
    assert aligned(ids).logits.isfinite().all()  # whoever takes no count trains nothing with it
