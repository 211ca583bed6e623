"""Models that a swap has damaged are taught by what they were."""

from __future__ import annotations

import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from formers import CausalLM, TransformerConfig
from formers.adapt.attention_transfer import transfer_losses
from formers.adapt.lora import LoraOptions, lora_targets
from formers.adapt.repair import distill, divergence, transfer_attention
from formers.adapt.repair_trainer import Repair
from formers.adapt.streamed_transfer import stream_transfer
from formers.lab.study.budget import Budget
from formers.models import convert_weights
from formers.part import Unsupported
from formers.testing.compare import assert_same

BUDGET = Budget(steps=24, batch_size=4, learning_rate=1e-2)
SHORT = Budget(steps=8, batch_size=2, learning_rate=1e-2, evaluations=4)


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


def half_linear() -> tuple[CausalLM, CausalLM]:
    return models(["softmax", "linear(feature=hedgehog)"])


def test_layers_learn_one_after_the_other(tmp_path: Path) -> None:
    teacher, student = half_linear()
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    start = transfer_losses(teacher, student, ids())
    losses = stream_transfer(teacher, student, ids(), tmp_path, BUDGET)
    assert list(losses) == [1]
    after = transfer_losses(teacher, student, ids())
    assert float(after[1]) < 0.7 * float(start[1])
    assert losses[1][0] > losses[1][-1]
    changed = {name for name, weight in student.state_dict().items() if not torch.equal(weight, before[name])}
    assert all(name.startswith("model.layers.1.mixer.") for name in changed)
    assert not list(tmp_path.glob("hidden-*"))
    _, other = half_linear()
    assert stream_transfer(teacher, other, ids(), tmp_path, BUDGET) == losses  # nothing is trained again
    same_weights(student, other)
    with pytest.raises(ValueError, match="measurements of another repair"):
        stream_transfer(teacher, other, ids(), tmp_path, replace(BUDGET, steps=2))


def test_a_mixer_that_went_astray_is_put_back(tmp_path: Path) -> None:
    teacher, student = models("sparse(pattern=window(30))")  # which is the teacher's attention but for the last tokens
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    stream_transfer(teacher, student, ids(), tmp_path, replace(BUDGET, learning_rate=10.0))
    assert all(torch.equal(weight, before[name]) for name, weight in student.state_dict().items())


def test_a_streamed_transfer_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    teacher, whole = models()
    stream_transfer(teacher, whole, ids(), tmp_path / "whole", BUDGET)
    _, stopped = models()

    def stop(done: int, total: int) -> None:
        assert total == 48
        if done == 40:  # in the second layer
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream_transfer(teacher, stopped, ids(), tmp_path / "stopped", BUDGET, progress=stop)
    assert (tmp_path / "stopped" / "hidden-001.bin").exists()
    _, again = models()
    stream_transfer(teacher, again, ids(), tmp_path / "stopped", BUDGET)
    same_weights(whole, again)


def test_layers_that_are_not_modules_of_their_own_are_refused(tmp_path: Path) -> None:
    teacher, _ = models()
    shared = CausalLM(teacher.config.swap(computation="universal"))
    other = CausalLM(shared.config.swap(mixer="linear"))
    with pytest.raises(Unsupported, match="use transfer_attention"):
        stream_transfer(shared, other, ids(), tmp_path, BUDGET)


LORA = LoraOptions(rank=4, alpha=8)


def test_adapters_are_trained_alone_and_merged(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="PEFT is not installed")
    teacher, student = half_linear()
    names = list(student.state_dict())
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    start = float(divergence(teacher, student, ids()))
    losses = distill(teacher, student, ids(), tmp_path, BUDGET, lora=LORA, held_out_nl=ids()[:2])
    assert float(divergence(teacher, student, ids())) < 0.7 * start
    assert len(losses) > 1
    assert list(student.state_dict()) == names
    changed = {name for name, weight in student.state_dict().items() if not torch.equal(weight, before[name])}
    assert any("ffn" in name for name in changed)
    assert any("feature" in name for name in changed)
    assert not any("norm" in name or "embed" in name for name in changed)
    assert all(parameter.requires_grad for parameter in student.parameters())
    _, other = half_linear()
    assert distill(teacher, other, ids(), tmp_path, BUDGET, lora=LORA, held_out_nl=ids()[:2]) == losses
    same_weights(student, other)


def test_the_preset_finds_the_projections_of_every_mixer() -> None:
    _, student = models(["softmax", "linear(feature=hedgehog)"])
    mixers = lora_targets(student, "mixer")
    assert len(mixers) == 8
    assert all(".mixer." in name for name in mixers)
    assert set(lora_targets(student, "ffn")).isdisjoint(mixers)
    plain = CausalLM(student.config.swap(mixer="pool", position="sinusoidal"))
    assert lora_targets(plain, "all") == lora_targets(plain, "ffn")
    with pytest.raises(Unsupported, match="no mixer of this model has a linear projection"):
        lora_targets(plain, "mixer")
    with pytest.raises(ValueError, match="rank must be at least 1"):
        LoraOptions(rank=0)


def test_adapters_that_were_stopped_go_on_to_the_same_weights(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="PEFT is not installed")
    options: dict[str, Any] = {"lora": LORA, "held_out_nl": ids()[:2]}
    teacher, whole = half_linear()
    distill(teacher, whole, ids(), tmp_path / "whole", SHORT, **options)
    _, stopped = half_linear()

    def stop(done: int, total: int) -> None:
        if done == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped after step 5"):
        distill(teacher, stopped, ids(), tmp_path / "stopped", SHORT, **options, progress=stop)
    _, again = half_linear()
    distill(teacher, again, ids(), tmp_path / "stopped", SHORT, **options)
    same_weights(whole, again)


def test_the_best_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student = models("sparse(pattern=window(2))")
    offered = []
    real = Repair.offer

    def offer(self: Repair, step: int) -> None:
        offered.append({name: weight.clone() for name, weight in student.state_dict().items()})
        if step == 5:
            self.loss = lambda *args: torch.tensor(0.0)
        real(self, step)
        self.loss = lambda *args: torch.tensor(9.0)

    monkeypatch.setattr(Repair, "offer", offer)
    distill(teacher, student, ids(), tmp_path, BUDGET, held_out_nl=ids()[:2])
    assert len(offered) == 5
    assert all(torch.equal(weight, offered[0][name]) for name, weight in student.state_dict().items())


def test_a_head_that_does_not_learn_gives_the_same_gradients() -> None:
    gradients = []
    for learns in (True, False):
        teacher, student = half_linear()
        student.get_output_embeddings().weight.requires_grad_(learns)
        divergence(teacher, student, ids()).backward()
        gradients.append([p.grad for layer in student.base_model.layers for p in layer.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_products_in_bfloat16_teach_nearly_the_same(tmp_path: Path) -> None:
    (teacher, student), (_, rounded) = half_linear(), half_linear()
    losses = distill(teacher, student, ids(), tmp_path / "float32", BUDGET)
    near = distill(teacher, rounded, ids(), tmp_path / "bfloat16", BUDGET, bf16=True)
    torch.testing.assert_close(torch.tensor(near), torch.tensor(losses), rtol=0.1, atol=0.02)
    with pytest.raises(ValueError, match="another repair"):
        distill(teacher, rounded, ids(), tmp_path / "bfloat16", BUDGET)


def test_scores_in_pieces_are_those_of_the_whole() -> None:
    teacher, student = models("sparse(pattern=window(2))")
    rows = torch.randint(20, (9, 32), generator=torch.Generator().manual_seed(1))  # more than one piece
    loss = divergence(teacher, student, rows)
    with torch.no_grad():
        want, got = (model(input_ids=rows).logits.double().log_softmax(-1) for model in (teacher, student))
    assert_same(loss, (want.exp() * (want - got)).sum(-1).mean(), "KL", 1e-5)


def same_weights(one: CausalLM, other: CausalLM) -> None:
    for name, weight in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight), name
