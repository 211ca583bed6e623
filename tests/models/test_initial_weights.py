"""Every module starts as it says, in a model as alone; what was loaded stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from formers.catalogue import members
from formers.mixers import Mixer
from formers.models import CausalLM, MaskedLM, TransformerConfig


def model(mixer: str, *, causal: bool = True, **options: object) -> nn.Module:
    torch.manual_seed(0)
    kind = CausalLM if causal else MaskedLM
    sizes = {"vocab_size": 50, "width": 64, "depth": 2, "heads": 4, "position": "sinusoidal"}
    return kind(TransformerConfig(mixer=mixer, **sizes | options))


@pytest.mark.parametrize("mixer", ["dense", "local_dense", "sliding_dense"])
@pytest.mark.parametrize(("options", "init"), [("init=5.0", 5), ("", 0.125)])
def test_dense_projections_start_as_the_part_says(mixer: str, options: str, init: float) -> None:
    made = model(f"{mixer}({options})", causal=mixer != "local_dense", initializer_range=0.125)
    for layer in made.model.layers:
        assert layer.mixer.q_proj.weight.std().item() == pytest.approx(init / (2 * 2 * 64) ** 0.5, rel=0.05)


def test_longformers_global_projections_start_as_the_local_ones() -> None:
    for layer in model("longformer(window=[4])", causal=False).model.layers:
        for name in ("q_proj", "k_proj", "v_proj"):
            local, own = layer.mixer.get_submodule(name), layer.mixer.get_submodule(f"{name}_global")
            assert local.weight.equal(own.weight)
            assert local.weight is not own.weight


@pytest.mark.parametrize("kind", members(Mixer), ids=lambda kind: kind.name())
def test_a_mixers_own_rule_runs_in_a_model(kind: type[Mixer], monkeypatch: pytest.MonkeyPatch) -> None:
    part = kind()
    causal = "causal" in part.abilities
    ran = []
    mixers = [type(layer.mixer) for layer in model(str(part), causal=causal).model.layers]
    for one in set(mixers):
        monkeypatch.setattr(one, "init_weights", lambda self, std: ran.append((type(self), std)))
    model(str(part), causal=causal, initializer_range=0.125)  # a module may set buffers of its own when it is made
    assert [kind for kind, std in ran if std == 0.125] == mixers


def test_loaded_weights_stay(tmp_path: Path) -> None:
    saved = model("longformer(window=[4])", causal=False)
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.normal_()
    saved.save_pretrained(tmp_path)
    loaded = MaskedLM.from_pretrained(tmp_path)
    for name, weight in saved.state_dict().items():
        assert loaded.state_dict()[name].equal(weight), name
