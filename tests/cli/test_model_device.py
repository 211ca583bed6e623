"""Commands that run a model take a device, and refuse one that is not there before they load anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(
    "line",
    [
        *("adapt model", "repair model", "generate study", "calibrate study", "needle study", "train sort"),
        *("knn build study store", "knn tune study store", "knn eval study store", "ablate sort", "bench softmax"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused_first(command: Run, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = command(*line.split(), "--device", "cuda")
    assert done.exit_code == 2
    assert "torch sees no GPU here; use cpu, or auto" in done.output
