"""The Triton form of linear attention on a GPU, in every dtype, against the naive form; what needs one to be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from formers.mixers import Taylor2
from formers.ops import (
    exp_features,
    fourier_features,
    kernel_attention,
    linear_attention,
    windowed_linear_attention,
)
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
    "long, 300 features": LinearCase(700, features=300, width=64, feature="relu", decay="moderate"),
    "long, 128 of both": LinearCase(1000, features=128, width=128, feature="identity"),
    "long, all pairs": LinearCase(2000, 3000, features=64, width=64, causal=False),
}

FLEX_TOLERANCES = {torch.float32: 2e-3, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""Of products in TF32 and in half types, relative to the largest value."""
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


@pytest.mark.parametrize(("impl", "dtype"), [("triton", torch.bfloat16), ("auto", torch.float32)], ids=str)
def test_compiles_without_a_break(impl: str, dtype: torch.dtype, device: str) -> None:
    given = [torch.randn(1, 2, 300, 32, device=device, dtype=dtype, requires_grad=True) for _ in range(3)]

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return linear_attention(q, k, v, causal=True, feature="elu", impl=impl)[0].float().sum()

    found, wanted = torch.compile(run, fullgraph=True)(*given), run(*given)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, given), torch.autograd.grad(wanted, given))


@pytest.mark.parametrize("dtype", FLEX_TOLERANCES, ids=str)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_a_known_kernel_through_flex(dtype: torch.dtype, causal: bool, padded: bool, device: str) -> None:
    draw, kernel = torch.Generator().manual_seed(0), Taylor2().kernel()
    q, k, v, g = (torch.randn(2, 2, 700, 64, generator=draw).to(device, dtype) for _ in range(4))
    mask = torch.rand(2, 700, generator=draw).to(device) < 0.8 if padded else None
    if mask is not None:
        mask[1, :200] = False  # queries that see no key
        k = k.masked_fill(~mask[:, None, :, None], torch.nan)

    def outcome(impl: str) -> list[torch.Tensor]:
        at = [t.clone().requires_grad_() for t in (q, k, v)]
        y = kernel_attention(*at, kernel, causal=causal, key_mask_bs=mask, impl=impl)
        return [y.detach(), *torch.autograd.grad(y, at, g)]

    for got, want in zip(outcome("flex"), outcome("torch"), strict=True):
        assert got.dtype == dtype
        torch.testing.assert_close(got, want, rtol=0, atol=FLEX_TOLERANCES[dtype] * float(want.abs().max()))


def test_a_known_kernel_takes_flex_keeps_no_scores_and_waits_for_nothing(
    device: str, caplog: pytest.LogCaptureFixture
) -> None:
    q, k, v = (torch.randn(1, 8, 8192, 64, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    kernel = Taylor2().kernel()

    def step() -> None:
        y = kernel_attention(q, k, v, kernel, causal=True)
        torch.autograd.grad(y, (q, k, v), y.detach())

    with caplog.at_level("DEBUG", logger="formers.ops"):
        step()
    assert "auto chose impl 'flex'" in caplog.text
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    own = torch.cuda.max_memory_allocated() - before
    assert own < 10 * q.nbytes  # scores would be 128 times q


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("features", "width"), [(266, 64), (620, 128), (70, 24)])
@pytest.mark.parametrize("shifted", [True, False])
def test_exponential_features(shifted: bool, features: int, width: int, dtype: torch.dtype, device: str) -> None:
    draw = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 3, 500, width, generator=draw), torch.randn(features, width, generator=draw) / width**0.5
    shift = torch.randn(2, 3, 500, generator=draw).to(device).requires_grad_() if shifted else None
    x, w = x.to(device).requires_grad_(), w.to(device)
    given = [x] if shift is None else [x, shift]
    found = exp_features(x, w, shift, dtype=dtype, impl="triton")
    wanted = exp_features(x, w, shift, impl="naive")
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)
    weight = wanted.detach().cos()
    gradients = [torch.autograd.grad((y.float() * weight).sum(), given) for y in (found, wanted)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("count", "width"), [(64, 64), (128, 128), (35, 24)])
def test_fourier_features(count: int, width: int, dtype: torch.dtype, device: str) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 500, width, generator=draw).to(device, dtype)
    w = torch.randn(count, width, generator=draw).to(device)
    given = [x.clone().requires_grad_() for _ in range(2)]
    found, wanted = (
        fourier_features(t, w, dtype=to, impl=impl)
        for t, to, impl in zip(given, (dtype, None), ("triton", "naive"), strict=True)
    )
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)
    weight = wanted.detach().cos()
    gradients = [
        torch.autograd.grad((y.float() * weight).sum(), t)[0] for y, t in zip((found, wanted), given, strict=True)
    ]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance * float(gradients[1].abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("window", "sinks"), [(32, 4), (200, 0), (5, 140)])
def test_beyond_a_window_through_flex(window: int, sinks: int, dtype: torch.dtype, device: str) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v, g = (torch.randn(2, 3, 700, 64, generator=draw).to(device, dtype) for _ in range(4))
    of_features = dtype if dtype == torch.bfloat16 else torch.float32
    phi_q, phi_k = (torch.rand(2, 3, 700, 64, generator=draw).to(device, of_features) / 8 for _ in range(2))
    gain = torch.randn(3, generator=draw).to(device)

    def outcome(impl: str) -> list[torch.Tensor]:
        at = [t.clone().requires_grad_() for t in (q, k, v, phi_q, phi_k, gain)]
        y = windowed_linear_attention(*at[:5], window=window, sinks=sinks, log_gain_h=at[5], impl=impl)
        return [y.detach(), *torch.autograd.grad(y, at, g)]

    for got, want in zip(outcome("flex"), outcome("naive"), strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=0, atol=FLEX_TOLERANCES[dtype] * float(want.abs().max()))
