"""The trainer's optimizer: which weights are decayed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from formers import catalogue
from formers.lab.train.trainer import SafeTrainer
from formers.models import CausalLM, TransformerConfig
from formers.part import Part, Unsupported

PARTS = [
    (axis, kind) for axis in catalogue.AXES if axis != "feature" for kind in catalogue.members(catalogue.AXES[axis])
]
SMALL = TransformerConfig(vocab_size=8, width=16, depth=2, heads=2, context_length=16)


def model_with(axis: str, kind: type[Part]) -> nn.Module:
    try:
        with torch.device("meta"):
            return CausalLM(SMALL.swap(**{axis: kind()}))
    except Unsupported as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("axis", "kind"), PARTS, ids=[f"{axis}-{kind.name()}" for axis, kind in PARTS])
def test_matrices_alone_are_decayed(axis: str, kind: type[Part], tmp_path: Path) -> None:
    model = model_with(axis, kind)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, weight_decay=0.1, report_to=[])
    trainer = SafeTrainer(model=nn.Linear(2, 2), args=arguments)
    decayed = {*trainer.get_decay_parameter_names(model)}
    assert "model.layers.0.ffn.up_proj.weight" in decayed
    weights = dict(model.named_parameters())
    assert {name for name in decayed if weights[name].ndim < 2} == set()
    matrices = {name for name, weight in weights.items() if weight.ndim >= 2}
    assert {name for name in matrices - decayed if "bias" not in name} == set()
