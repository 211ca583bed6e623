"""Precision, parts of a batch, and recomputation, on a CPU; what a machine has not is refused before it trains."""

import signal
from dataclasses import replace

import pytest
import torch

from formers.lab import Compute, Stopped, run
from formers.lab.train.device import device_for
from formers.lab.train.progress import Silent


def trained(study, tmp_path, **compute):
    name = "-".join(map(str, compute)) or "plain"
    made = replace(study, compute=Compute(**compute), folder=tmp_path / name, base={**study.base, "dropout": 0.0})
    (row,) = run(made).rows
    assert row.status == "finished", row.cause
    return row


def losses(row):
    return [point.values[name] for point in row.curve for name in sorted(point.values)]


def test_parts_and_recomputation_change_roundings_alone(one_arm, tmp_path):
    plain = trained(one_arm, tmp_path)
    for compute in ({"accumulate": 2}, {"checkpointing": True, "device": "cpu"}):
        row = trained(one_arm, tmp_path, **compute)
        assert losses(row) == pytest.approx(losses(plain), rel=1e-4)
        assert row.fingerprint == plain.fingerprint
        assert row.environment["device"] == plain.environment["device"]
        assert row.environment.items() >= Compute(**compute).facts.items()


def test_half_precision_is_another_training(one_arm, tmp_path):
    plain, half = trained(one_arm, tmp_path), trained(one_arm, tmp_path, precision="bf16")
    assert half.environment["precision"] == "bf16"
    assert half.fingerprint != plain.fingerprint
    assert losses(half) != losses(plain)
    assert losses(half) == pytest.approx(losses(plain), rel=0.05)


class Listens(Silent):
    """Keeps notes, and presses Ctrl-C after a step."""

    def __init__(self, last=None):
        self.notes, self.last = [], last

    def step(self, label, done):
        if done == self.last:
            signal.raise_signal(signal.SIGINT)

    def note(self, text):
        self.notes.append(text)


def test_what_changed_since_a_checkpoint_is_told(one_arm):
    with pytest.raises(Stopped):
        run(one_arm, Listens(last=4))
    later = Listens()
    run(replace(one_arm, compute=Compute(accumulate=2, checkpointing=True)), later)
    assert any("accumulate None → 2, checkpointing None → True" in note for note in later.notes), later.notes


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_the_machine_has_not_is_refused(one_arm):
    for compute, message in ((Compute(device="cuda"), "torch sees no GPU"), (Compute(precision="fp16"), "is for GPUs")):
        with pytest.raises(ValueError, match=message):
            run(replace(one_arm, compute=compute))
    assert device_for(Compute()) == "cpu"


@pytest.mark.slow
def test_compiled_models_train_alike(one_arm, tmp_path):
    plain, compiled = trained(one_arm, tmp_path), trained(one_arm, tmp_path, compile=True)
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-3)


def test_time_is_matched_as_steps_are_computed(small):
    study = replace(small, match="time", compute=Compute(precision="bf16", accumulate=2, checkpointing=True))
    assert [row.status for row in run(study).rows] == ["finished"] * 2
