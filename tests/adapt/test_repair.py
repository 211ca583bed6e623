"""Models that a swap has damaged are taught by what they were."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from formers import CausalLM, TransformerConfig
from formers.adapt.attention_transfer import transfer_losses
from formers.adapt.repair import distill, transfer_attention
from formers.lab.study.budget import Budget
from formers.models import convert_weights
from formers.part import Unsupported
from formers.testing.compare import assert_same

BUDGET = Budget(steps=24, batch_size=4, learning_rate=1e-2)


def ids() -> Tensor:
    return torch.randint(20, (8, 16), generator=torch.Generator().manual_seed(0))


def models(mixer: object = "linear(feature=hedgehog)") -> tuple[CausalLM, CausalLM]:
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "width": 16, "depth": 2, "heads": 2, "initializer_range": 0.4}
    teacher = CausalLM(TransformerConfig(**sizes, mixer="softmax", context_length=32)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that are new
        return teacher, convert_weights(teacher, teacher.config.swap(mixer=mixer)).model


def test_the_loss_is_that_of_each_layer_on_the_teachers_inputs() -> None:
    teacher, student = models(["softmax", "sparse(pattern=window(4))"])
    inputs = []
    handle = teacher.model.layers[1].mixer.register_forward_hook(lambda m, a, out: inputs.append((a[0], out[0])))
    with torch.no_grad():
        teacher(ids())
    handle.remove()
    losses = transfer_losses(teacher, student, ids())
    assert list(losses) == [1]
    [(x, want)] = inputs
    got, _ = student.model.layers[1].mixer(x)
    assert_same(losses[1], (got - want).square().sum() / want.square().sum(), "the loss of layer 1", 1e-6)
    wide = convert_weights(teacher, teacher.config.swap(mixer="sparse(pattern=window(40))")).model
    assert all(float(loss) < 1e-10 for loss in transfer_losses(teacher, wide, ids()).values())


def test_padding_counts_for_nothing() -> None:
    teacher, student = models("sparse(pattern=window(4))")
    mask = torch.ones_like(ids())
    mask[:, 12:] = 0
    padded = transfer_losses(teacher, student, ids(), mask)
    alone = transfer_losses(teacher, student, ids()[:, :12])
    for layer, loss in alone.items():
        assert_same(padded[layer], loss, f"layer {layer}", 1e-5)


def test_transfer_changes_the_new_mixers_alone_and_helps(tmp_path: Path) -> None:
    teacher, student = models(["softmax", "linear(feature=hedgehog)"])
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    old = {name: weight.clone() for name, weight in teacher.state_dict().items()}
    losses = transfer_attention(teacher, student, ids(), tmp_path, BUDGET)
    assert losses[-1] < 0.7 * losses[0]
    changed = {name for name, weight in student.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("model.layers.1.mixer.") for name in changed)
    assert all(torch.equal(weight, old[name]) for name, weight in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_distillation_comes_nearer_to_the_teacher(tmp_path: Path) -> None:
    teacher, student = models("sparse(pattern=window(2))")
    losses = distill(teacher, student, ids(), tmp_path, BUDGET)
    assert losses[-1] < 0.5 * losses[0]


def test_a_repair_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, whole = models()
    transfer_attention(teacher, whole, ids(), tmp_path / "whole", BUDGET)
    _, stopped = models()
    calls = []

    def stop(*args: object) -> dict[int, Tensor]:
        calls.append(args)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return transfer_losses(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("formers.adapt.repair.transfer_losses", stop)
    with pytest.raises(KeyboardInterrupt):
        transfer_attention(teacher, stopped, ids(), tmp_path / "stopped", BUDGET)
    monkeypatch.undo()
    (tmp_path / "stopped" / "checkpoint-18").mkdir()  # as one that was being written
    _, again = models()
    transfer_attention(teacher, again, ids(), tmp_path / "stopped", BUDGET)
    for name, weight in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_models_that_do_not_fit_are_refused() -> None:
    teacher, _ = models("sparse(pattern=window(2))")
    with pytest.raises(Unsupported, match="nothing is to learn"):
        transfer_losses(teacher, teacher, ids())
    other = CausalLM(TransformerConfig(vocab_size=20, width=24, depth=2, heads=2))
    with pytest.raises(Unsupported, match="width=16, the student 24"):
        transfer_losses(teacher, other, ids())
