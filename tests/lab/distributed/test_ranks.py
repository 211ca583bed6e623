"""Two processes under torchrun: what comes out is what one process makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from formers.lab import Study
from formers.lab.distributed import ranks
from formers.lab.executors.torchrun import Torchrun
from formers.lab.run_study import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo between processes is tested on Linux")

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
SIZES = ["--width", "16", "--depth", "1", "--heads", "2", "--base", "position=learned", "--batch", "4"]


def free_port() -> str:
    from formers.testing.laws.ranks import free_port

    return str(free_port())


CARRIED = ["--vary", "memory=recurrent(length=24)"]
"""An arm with a memory; its task is contiguous, and its position goes by distances."""


def start(folder: Path, text: Path, words: Sequence[str], many: int = 2, task: str = "") -> subprocess.Popen[str]:
    """`formers ablate` in as many processes, on the text unless told otherwise."""
    carried = any("memory" in word for word in words)
    task = task or f"shakespeare(length=16, path={str(text)!r}{', contiguous=True' if carried else ''})"
    sizes = [word.replace("learned", "rotary") if carried else word for word in SIZES]
    alone = [sys.executable] if many == 1 else [*TORCHRUN, free_port()]
    line = [*alone, "-m", "formers", "ablate", task, *sizes, "--folder", str(folder), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, out + err
    return out


def rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "report.json").read_text())["rows"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [file] = folder.glob("models/*/model.safetensors")
    return load_file(file)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "more", "described"),
    [
        (["--vary", "mixer=linear"], [], "2"),
        (["--vary", "mixer=linear"], ["--shard"], "2 (sharded)"),
        (["--vary", "position=xl"], [], "2"),
        (CARRIED, [], "2"),
        (CARRIED, ["--shard"], "2 (sharded)"),
    ],
)
def test_two_processes_train_as_one(
    small_text: Path, tmp_path: Path, arm: list[str], more: list[str], described: str
) -> None:
    words = [*arm, "--steps", "8", "--evaluations", "2"]
    processes = [start(tmp_path / f"of-{many}", small_text, words + more * (many - 1), many) for many in (1, 2)]
    finish(processes[0])
    said = finish(processes[1])
    assert said.count(": 8 steps") == 1  # one of them speaks
    assert said.count("report: ") == said.count("FLOPs/token") == 1
    [one], [two] = rows(tmp_path / "of-1"), rows(tmp_path / "of-2")
    assert (one["environment"]["processes"], two["environment"]["processes"]) == ("1", described)
    assert one["environment"].get("segments") == ("contiguous, with the memory" if arm == CARRIED else None)
    assert two["fingerprint"] == one["fingerprint"]
    assert two["chosen_step"] == one["chosen_step"]
    # Gradients are sums over 4 rows, made in another order: relative errors of a few float32 roundings a step, which
    # Adam hands on to the step itself. 8 steps at 1e-2 of rounding-size relative changes stay below 8 · 1e-2 · 1e-3.
    assert two["metrics"]["loss"] == pytest.approx(one["metrics"]["loss"], abs=1e-4)
    whole, shared = weights(tmp_path / "of-1"), weights(tmp_path / "of-2")
    assert whole.keys() == shared.keys()
    for name, value in whole.items():
        known = turning(value.shape[1]) if name.endswith("r_proj.weight") else slice(None)
        torch.testing.assert_close(shared[name][..., known], value[..., known], rtol=0, atol=8e-5, msg=name)


def turning(width: int) -> torch.Tensor:
    """Return the waves of `xl` whose weights have gradients of more than rounding, among sines and cosines.

    cos((i − j)θ) = 1 − a with a ≤ (15θ)²/2 over 16 tokens, and softmax takes the same from all keys: the gradients that
    reach the weights of a cosine are sums in which all but a share of a cancels. Rounding, 5e-7 of what is added up, is
    then 5e-7/a of the sum, which Adam hands on to the step; it is below 1e-3, as above, where a > 5e-4. The slower ones
    move as rounding has it, and move no score: the losses agree. In float64 all weights do (test_fsdp.py).
    """
    theta = 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.cat([torch.ones_like(theta, dtype=torch.bool), (15 * theta).square() / 2 > 5e-4])


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--shard"], ["--accumulate", "2"]])
def test_labels_count_alike_in_whichever_process_they_are(small_text: Path, tmp_path: Path, more: list[str]) -> None:
    """A sequence of `recall` has 1 to 4 labels: the mean over two processes' means is not that over all labels."""
    words = ["--vary", "mixer=linear", "--steps", "4", "--evaluations", "1"]
    for many in (1, 2):
        finish(start(tmp_path / f"of-{many}", small_text, words + more * (many - 1), many, task="recall"))
    found = [row for many in (1, 2) for row in rows(tmp_path / f"of-{many}")]
    one, two = ([point["values"]["train_loss"] for point in row["curve"]] for row in found)
    assert two[0] == pytest.approx(one[0], rel=1e-6)  # of equal weights
    assert two == pytest.approx(one, abs=1e-4)  # as above


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--vary", "mixer=softmax"], ["--vary", "mixer=softmax", "--shard"], CARRIED])
def test_two_processes_stop_and_go_on_to_the_bit(small_text: Path, tmp_path: Path, more: list[str]) -> None:
    words = [*more, "--base", "dropout=0.1", "--steps", "300", "--evaluations", "3"]
    whole = start(tmp_path / "whole", small_text, words)
    cut = start(tmp_path / "cut", small_text, words)
    while not list((tmp_path / "cut").glob("checkpoints/*/checkpoint-*/trainer_state.json")):
        assert cut.poll() is None, cut.communicate()
        time.sleep(0.05)
    cut.send_signal(signal.SIGTERM)  # torchrun hands it on to both
    _, err = cut.communicate(timeout=120)
    assert "0 of 1 runs are done" in err
    finish(whole)
    finish(start(tmp_path / "cut", small_text, words))
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(found[name].equal(value) for name, value in expected.items())
    [one], [two] = rows(tmp_path / "whole"), rows(tmp_path / "cut")
    assert one["metrics"] == two["metrics"]
    assert not list((tmp_path / "cut").glob("checkpoints/*"))


def test_a_batch_that_does_not_divide_is_refused(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match=r"batches of 2 do not divide over 3 processes.*--batch"):
        run(one_arm)
    assert ranks.local_batch_size(6) == 2


def test_arms_side_by_side_are_refused_where_processes_train_together(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="under torchrun"):
        run(one_arm, executor=Torchrun())


def test_one_process_agrees_with_itself() -> None:
    assert ranks.broadcast_from_rank0("value") == "value"
    assert ranks.any_rank(True)
    assert not ranks.any_rank(False)
    assert ranks.is_rank0()
    with pytest.raises(ArithmeticError), ranks.fail_together():
        raise ArithmeticError
    with ranks.process_group():
        assert not torch.distributed.is_initialized()
