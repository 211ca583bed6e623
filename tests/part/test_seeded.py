"""Random numbers that begin at a seed for a while leave no trace, on any device."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import formers
from formers.adapt import register
from formers.adapt.attention_core import attention_core
from formers.mixers import Mixer
from formers.part import seeded
from formers.residuals.replay import Replay

SOURCE = Path(formers.__file__).parent
OWN_PROCESS = {"lab/train/callback.py", "cli/repair.py", "testing/laws/ranks.py"}
"""Where a whole training or process begins, or every device is put back."""


def test_numbers_begin_at_the_seed_and_go_on_as_before() -> None:
    torch.manual_seed(3)
    want = [torch.rand(2), torch.rand(2)]
    torch.manual_seed(3)
    assert torch.equal(torch.rand(2), want[0])
    with seeded(5):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(2), want[1])
    with seeded(5):
        assert torch.equal(torch.rand(4), inside)
    with pytest.raises(KeyError), seeded(5):
        raise KeyError
    assert torch.initial_seed() == 3


def test_the_devices_own_numbers_are_put_back_and_those_of_others_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"mps": 1}
    module = SimpleNamespace(
        get_rng_state=lambda: states["mps"],
        set_rng_state=lambda state: states.update(mps=state),
        manual_seed=lambda seed: states.update(mps=seed),
    )
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("all GPUs were seeded"))
    with suppress(KeyError), seeded(5, torch.device("mps")):
        assert states == {"mps": 5}
        raise KeyError
    assert states == {"mps": 1}
    with seeded(5), seeded(6, torch.device("cpu")):
        assert states == {"mps": 1}
    replay = Replay(torch.device("mps"))
    states["mps"] = 7
    with suppress(KeyError), replay.again():
        assert states == {"mps": 1}
        states["mps"] = 2
        raise KeyError
    assert states == {"mps": 7}


def test_a_pass_with_an_attention_function_seeds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    attention_core.cache_clear()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=20, **sizes, attn_implementation=register("performer(features=4)")))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("all GPUs were seeded"))
    model(torch.tensor([[5, 6, 7]]), use_cache=False)


def test_features_are_the_same_where_modules_are_built_on_another_device() -> None:
    attention_core.cache_clear()
    options = {"heads": 2, "head_width": 4, "causal": True, "layer": 1, "longest": 16}
    with torch.device("meta"):
        there = attention_core(Mixer.parse("performer(features=4)"), **options)
    assert all(not tensor.is_meta for tensor in there.state_dict().values())


def test_nothing_else_seeds_all_devices() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if "torch.manual_seed" in path.read_text(encoding="utf-8").replace("`torch.manual_seed`", "")
    }
    assert found == OWN_PROCESS
