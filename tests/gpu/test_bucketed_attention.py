"""The FlexAttention form of bucketed attention on a GPU, against the naive form, gradients too."""

from __future__ import annotations

import pytest
import torch

from formers.ops import bucketed_attention

TOLERANCES = {torch.float32: 2e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""Of products in TF32 and in half types, relative to the largest value."""


@pytest.fixture(autouse=True)
def _needs_cuda(device: str) -> None:
    if device != "cuda":
        pytest.skip("on a CPU, tests/ops/bucketed_attention runs FlexAttention as it is defined")


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("causal", [True, False])
def test_equals_the_naive_form(dtype: torch.dtype, causal: bool, device: str) -> None:
    draw = torch.Generator().manual_seed(0)
    q, v, g = (torch.randn(2, 2, 700, 32, generator=draw).to(device, dtype) for _ in range(3))
    bucket = torch.randint(8, (2, 2, 3, 700), generator=draw).to(device)
    mask = torch.rand(2, 700, generator=draw).to(device) < 0.8

    def outcome(impl: str) -> list[torch.Tensor]:
        at = [t.clone().requires_grad_() for t in (q, v)]
        options = {"chunk": 64, "causal": causal, "key_mask_bl": mask, "self_last": True}
        y = bucketed_attention(at[0], None, at[1], bucket, impl=impl, **options)
        return [y.detach(), *torch.autograd.grad(y, at, g)]

    for got, want in zip(outcome("flex"), outcome("naive"), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, want, rtol=0, atol=TOLERANCES[dtype] * float(want.abs().max()))


def test_auto_takes_it(device: str, caplog: pytest.LogCaptureFixture) -> None:
    q = torch.randn(1, 2, 300, 32, device=device, dtype=torch.bfloat16)
    with caplog.at_level("DEBUG", logger="formers.ops"):
        bucketed_attention(q, None, q, torch.zeros(1, 2, 2, 300, dtype=torch.long, device=device), chunk=64)
    assert "auto chose impl 'flex'" in caplog.text
