"""FlexAttention says for which tensors it cannot run, so that "auto" passes it over."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from formers.ops.common import tensor_cores, triton_reasons
from formers.ops.common.flex_kernel import flex_reasons
from formers.ops.linear_attention.inputs import LinearInputs
from formers.ops.linear_attention.triton_form import slow_reasons


def on_a_gpu(width: int = 64, dtype: torch.dtype = torch.bfloat16) -> list[str]:
    """Return the reasons against tensors of a GPU that need not be there."""
    with FakeTensorMode():
        q = torch.empty(1, 2, 130, width, dtype=dtype, device="cuda")
        return flex_reasons(q, q, q, instead="other")


def test_where_triton_is_not_installed_another_form_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_reasons, "INSTALLED", False)
    [reason] = on_a_gpu()
    assert "Triton, which is not installed; use impl='other'" in reason


def test_a_gpu_with_triton_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_reasons, "INSTALLED", True)
    assert on_a_gpu() == []
    assert ["at least 16 wide" in reason for reason in on_a_gpu(width=8)] == [True]
    assert ["float64" in reason for reason in on_a_gpu(dtype=torch.float64)] == [True]


def test_an_old_gpu_multiplies_by_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_reasons, "INSTALLED", True)
    monkeypatch.setattr(tensor_cores, "_capability", lambda index: (7, 5))
    [reason] = on_a_gpu()
    assert "from compute capability 8.0 on, and this GPU has less; use impl='other'" in reason
    with FakeTensorMode():
        q = torch.empty(1, 2, 130, 64, dtype=torch.float16, device="cuda")
        given = LinearInputs(q, q, q, True, None, None, True, 0.0, None, "elu")
        assert ["this GPU has less" in reason for reason in slow_reasons(given)] == [True]
