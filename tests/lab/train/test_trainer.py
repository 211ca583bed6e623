"""The trainer: which weights are decayed, and what a checkpoint holds."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from formers import catalogue
from formers.lab.train.trainer import SafeTrainer
from formers.models import CausalLM, MaskedLM, TransformerConfig
from formers.part import Part, Unsupported
from formers.positions import NoPosition, Rotary

PARTS = [
    (axis, kind) for axis in catalogue.AXES if axis != "feature" for kind in catalogue.members(catalogue.AXES[axis])
]
SMALL = TransformerConfig(vocab_size=8, width=16, depth=2, heads=2, context_length=16)


def model_with(axis: str, kind: type[Part]) -> nn.Module:
    """Return a model with a part: a causal one where the part can be, and with positions where it takes them."""
    for head, position in product((CausalLM, MaskedLM), (Rotary(), NoPosition())):
        with suppress(Unsupported), torch.device("meta"):
            return head(SMALL.swap(**{"position": position} | {axis: kind()}))
    raise AssertionError(f"no model takes {kind.name()}")


def a_trainer(folder: Path) -> SafeTrainer:
    arguments = TrainingArguments(output_dir=str(folder), use_cpu=True, report_to=[])
    return SafeTrainer(model=nn.Linear(2, 2), args=arguments)


@pytest.mark.parametrize(("axis", "kind"), PARTS, ids=[f"{axis}-{kind.name()}" for axis, kind in PARTS])
def test_matrices_alone_are_decayed(axis: str, kind: type[Part], tmp_path: Path) -> None:
    model = model_with(axis, kind)
    decayed = {*a_trainer(tmp_path).get_decay_parameter_names(model)}
    assert "model.layers.0.ffn.up_proj.weight" in decayed
    weights = dict(model.named_parameters())
    assert {name for name in decayed if weights[name].ndim < 2} == set()
    matrices = {name for name, weight in weights.items() if weight.ndim >= 2}
    assert {name for name in matrices - decayed if "bias" not in name} == set()


def test_the_scale_of_losses_is_kept_without_a_pickle(tmp_path: Path) -> None:
    """On a CPU, with the scaler that float16 has on a GPU."""
    first, second = a_trainer(tmp_path), a_trainer(tmp_path)
    first.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=3)
    second.accelerator.scaler = torch.amp.GradScaler("cpu")
    first._save_scaler(str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["scaler.safetensors"]
    second._load_scaler(str(tmp_path))
    assert second.accelerator.scaler.state_dict() == first.accelerator.scaler.state_dict()


def test_whole_precision_has_no_scale(tmp_path: Path) -> None:
    a_trainer(tmp_path)._save_scaler(str(tmp_path))
    assert not list(tmp_path.iterdir())
    a_trainer(tmp_path)._load_scaler(str(tmp_path))
