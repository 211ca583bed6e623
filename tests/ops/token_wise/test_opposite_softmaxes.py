"""The two softmaxes of Hedgehog's features; the Triton form runs in `interpreted.py`."""

from __future__ import annotations

import pytest
import torch

from formers.ops import opposite_softmaxes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_rounded_once_under_autocast_too(randn, dtype):
    x = randn(3, 5, 7).to(dtype)
    with torch.autocast("cpu", dtype):
        found = opposite_softmaxes(x)
    assert found.dtype == dtype
    want = torch.cat([x.double().softmax(-1), (-x.double()).softmax(-1)], -1)
    torch.testing.assert_close(found.double(), want, rtol=torch.finfo(dtype).eps, atol=1e-7)


def test_refusals():
    with pytest.raises(ValueError, match="expected features"):
        opposite_softmaxes(torch.zeros(2, 0))
