from __future__ import annotations

import pytest
import torch

from formers.lab import Arm, Study
from formers.lab.train.initial_weights import seeded_model


def weights(swaps: dict[str, object], seed: int = 0) -> dict[str, torch.Tensor]:
    base = {"width": 16, "heads": 2, "position": "learned", "initializer_range": 0.02}
    study = Study(task="sort(length=8)", base=base, arms=(Arm("a", swaps),))
    return dict(seeded_model(study.checked_task, study.config(study.arms[0]), seed).named_parameters())


def test_what_arms_have_in_common_starts_equal() -> None:
    softmax, linear, pool = (weights({"mixer": name}) for name in ("softmax", "linear", "pool"))
    assert softmax.keys() == linear.keys()
    for name, value in linear.items():
        assert value.equal(softmax[name]), name
    shared = pool.keys() & softmax.keys()
    assert any("up_proj" in name for name in shared)
    assert len(shared) < len(softmax)
    for name in shared:
        assert pool[name].equal(softmax[name]), name


def test_a_swap_does_not_shift_what_comes_after_it() -> None:
    deep, mixed = weights({"depth": 3}), weights({"depth": 3, "mixer": "[pool, softmax]"})
    assert deep["model.layers.1.mixer.q_proj.weight"].equal(mixed["model.layers.1.mixer.q_proj.weight"])


def test_parts_keep_their_own_scale() -> None:
    dense, softmax = weights({"mixer": "dense"}), weights({"mixer": "softmax"})
    name = "model.layers.0.mixer.q_proj.weight"
    assert dense[name].std().item() == pytest.approx(0.02 * (2 * 2 * 16) ** -0.5, rel=0.2)
    assert softmax[name].std().item() == pytest.approx(0.02, rel=0.2)


def test_seeds_differ_and_the_global_stream_is_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second = weights({}, seed=0), weights({}, seed=1)
    assert torch.get_rng_state().equal(before)
    name = "model.layers.0.ffn.up_proj.weight"
    assert not first[name].equal(second[name])
    assert not first[name].equal(first[name.replace("layers.0", "layers.1")])


def test_gpus_that_nothing_is_on_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own way asks each of them, and warns where there are several."""

    def asked(*devices: object) -> torch.Tensor:
        raise AssertionError(f"the state of {devices} was asked for")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", asked)
    weights({})
