"""The Triton form of linear attention on a GPU, in every dtype, against the naive form; what needs one to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from formers.ops import linear_attention
from formers.testing.linear_cases import CASES, LinearCase

EVERY_WAY = (
    "a token",
    "a chunk",
    "segments of two chunks",
    "three chunks, not normalised",
    "strong decay",
    "all pairs",
)
LONG = {
    "long": LinearCase(3000, heads=4, features=64, width=64, mask="interior"),
    "long, decay": LinearCase(700, features=64, width=64, decay="moderate"),
    "long, 256 features": LinearCase(700, features=256, width=64, feature="relu"),
    "long, 128 of both": LinearCase(1000, features=128, width=128, feature="identity"),
    "long, all pairs": LinearCase(2000, 3000, features=64, width=64, causal=False),
}


TRIALS = [
    *((name, torch.bfloat16) for name in (*LONG, *EVERY_WAY)),
    *((name, torch.float16) for name in ("long", "long, decay", "segments of two chunks")),
    *((name, torch.float32) for name in ("long", "long, decay", "all pairs")),
]
"""Each compiles about eight kernels, half a second each."""


@pytest.fixture(autouse=True)
def _needs_cuda(device: str) -> None:
    if device != "cuda":
        pytest.skip("on a CPU, tests/ops/linear_attention runs these by Triton's interpreter")


@pytest.mark.parametrize(("name", "dtype"), TRIALS, ids=str)
def test_equals_the_naive_form(name: str, dtype: torch.dtype, device: str) -> None:
    case = (CASES | LONG)[name]
    case.check("triton", dtype, device)
    if name in LONG and case.causal:  # segments of several chunks as well
        replace(case, programs=16).check("triton", dtype, device)


def test_auto_takes_it_and_waits_for_nothing(device: str, caplog: pytest.LogCaptureFixture) -> None:
    q, k, v = (torch.randn(2, 4, 500, 64, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

    def step() -> None:
        y, _ = linear_attention(q, k, v, causal=True, feature="elu")
        y.sum().backward()

    with caplog.at_level("DEBUG", logger="formers.ops"):
        step()
    assert "auto chose impl 'triton'" in caplog.text
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_memory_grows_with_outputs_and_gradients_alone(device: str) -> None:
    q, k, v = (torch.randn(1, 16, 16384, 64, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

    def step() -> None:
        y, _ = linear_attention(q, k, v, causal=True, feature="elu")
        torch.autograd.grad(y, (q, k, v), y.detach())

    step()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    own = torch.cuda.max_memory_allocated() - before
    assert own < 1.2 * 4 * q.nbytes  # y and three gradients


def test_compiles_without_a_break(device: str) -> None:
    given = [torch.randn(1, 2, 300, 32, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return linear_attention(q, k, v, causal=True, feature="elu", impl="triton")[0].float().sum()

    found, wanted = torch.compile(run, fullgraph=True)(*given), run(*given)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, given), torch.autograd.grad(wanted, given))
