"""One step for each layer: models are what they were before there was a choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from formers import CausalLM, TransformerConfig
from formers.computation import FixedDepth

SIZES = {"vocab_size": 11, "width": 8, "depth": 3, "heads": 2, "context_length": 16}


def test_files_from_before_mean_fixed(tmp_path: Path) -> None:
    config = TransformerConfig(**SIZES)
    assert config.computation == FixedDepth()
    assert str(config.computation) == "fixed()"
    assert "computation" not in config.to_dict().keys() | config.choices().keys()
    config.save_pretrained(tmp_path)
    assert "computation" not in json.loads((tmp_path / "config.json").read_text())
    assert TransformerConfig.from_pretrained(tmp_path).computation == FixedDepth()


def test_it_adds_no_weight_and_a_state_for_each_layer() -> None:
    model = CausalLM(TransformerConfig(**SIZES)).eval()
    assert not list(model.model.computation.parameters())
    assert all(
        name.split(".")[1] in ("embed_tokens", "layers", "norm") for name in model.state_dict() if "lm" not in name
    )
    assert len(model.model.separate_layers()) == len(model.model.layers) == 3
    assert len(model(torch.arange(8)[None], use_cache=True).past_key_values.layers) == 3


@pytest.mark.parametrize("residual", ["pre_norm", "reversible"])
def test_hidden_states_are_those_that_enter_each_layer(residual: str) -> None:
    model = CausalLM(TransformerConfig(**SIZES, residual=residual)).eval()
    entered: list[torch.Tensor] = []
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    hidden = model(torch.arange(8)[None], output_hidden_states=True).hidden_states
    assert len(hidden) == 4
    for want, got in zip(entered, hidden, strict=False):
        assert torch.equal(model.config.residual.leave(want), got)
