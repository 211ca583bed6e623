"""Operations are counted however a product is written."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from formers.ops import OperationCount

B, M, N, K = 2, 3, 5, 7
ONE, MANY = 2 * M * N * K, 2 * B * M * N * K
"""Operations of one product (M, K)·(K, N), and of B of them."""

A_MK, B_KN, C_MN = torch.randn(M, K), torch.randn(K, N), torch.randn(M, N)
A_BMK, B_BKN, C_BMN = torch.randn(B, M, K), torch.randn(B, K, N), torch.randn(B, M, N)
V_K, V_M, V_N = torch.randn(K), torch.randn(M), torch.randn(N)

PRODUCTS: dict[str, tuple[Callable[[], object], int]] = {
    "mm": (lambda: A_MK.mm(B_KN), ONE),
    "mm out": (lambda: torch.mm(A_MK, B_KN, out=C_MN.clone()), ONE),
    "linear": (lambda: F.linear(A_MK, B_KN.mT), ONE),
    "linear with bias": (lambda: F.linear(A_MK, B_KN.mT, V_N), ONE),
    "addmm": (lambda: C_MN.addmm(A_MK, B_KN), ONE),
    "addmm_": (lambda: C_MN.clone().addmm_(A_MK, B_KN), ONE),
    "addmm out": (lambda: torch.addmm(C_MN, A_MK, B_KN, out=C_MN.clone()), ONE),
    "bmm": (lambda: A_BMK.bmm(B_BKN), MANY),
    "bmm out": (lambda: torch.bmm(A_BMK, B_BKN, out=C_BMN.clone()), MANY),
    "matmul": (lambda: A_BMK @ B_BKN, MANY),
    "matmul out": (lambda: torch.matmul(A_BMK, B_BKN, out=C_BMN.clone()), MANY),
    "einsum": (lambda: torch.einsum("bmk,bkn->bmn", A_BMK, B_BKN), MANY),
    "baddbmm": (lambda: C_BMN.baddbmm(A_BMK, B_BKN), MANY),
    "baddbmm_": (lambda: C_BMN.clone().baddbmm_(A_BMK, B_BKN), MANY),
    "baddbmm out": (lambda: torch.baddbmm(C_BMN, A_BMK, B_BKN, out=C_BMN.clone()), MANY),
    "addbmm": (lambda: C_MN.addbmm(A_BMK, B_BKN), MANY),
    "addbmm_": (lambda: C_MN.clone().addbmm_(A_BMK, B_BKN), MANY),
    "addbmm out": (lambda: torch.addbmm(C_MN, A_BMK, B_BKN, out=C_MN.clone()), MANY),
    "mv": (lambda: A_MK.mv(V_K), 2 * M * K),
    "mv out": (lambda: torch.mv(A_MK, V_K, out=V_M.clone()), 2 * M * K),
    "addmv": (lambda: V_M.addmv(A_MK, V_K), 2 * M * K),
    "addmv_": (lambda: V_M.clone().addmv_(A_MK, V_K), 2 * M * K),
    "dot": (lambda: V_K.dot(V_K), 2 * K),
    "vdot": (lambda: torch.vdot(V_K, V_K), 2 * K),
    "addr": (lambda: C_MN.addr(V_M, V_N), 2 * M * N),
    "addr_": (lambda: C_MN.clone().addr_(V_M, V_N), 2 * M * N),
    "bilinear": (lambda: F.bilinear(A_MK, A_MK, torch.ones(N, K, K)), 2 * M * N * K * K),
    "conv1d": (lambda: F.conv1d(A_BMK, torch.ones(N, M, 1)), MANY),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_a_product_counts_alike_however_it_is_written(name: str, mode: Callable[[], object]) -> None:
    run, want = PRODUCTS[name]
    with mode(), OperationCount() as counted:  # type: ignore[attr-defined]
        run()
    assert counted.total == want


def test_every_operator_of_torch_that_adds_a_product_is_known() -> None:
    names = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")}
    adding = {name[6:] for name in names if name[6:].rstrip("_") in ("addmm", "addbmm", "baddbmm", "addmv", "addr")}
    assert adding <= {name.partition(" ")[0] for name in PRODUCTS}


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_fused_attention_counts_all_pairs(device: str) -> None:
    q, k, v = (torch.randn(B, 4, 16, 8, device=device, requires_grad=True) for _ in range(3))
    with OperationCount() as forward:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    pairs = B * 4 * 16 * 16
    assert forward.total == 2 * pairs * (8 + 8)
    with OperationCount() as backward:
        y.sum().backward()
    made_again = 2 * pairs * 8 if device == "cpu" else 0
    assert backward.total == 2 * forward.total + made_again


def test_gradients_written_by_hand_count() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return torch.zeros(M, N).addmm_(x, B_KN)

        @staticmethod
        def setup_context(ctx: object, inputs: object, output: object) -> None:
            pass

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:
            return torch.zeros(M, K).addmm_(g, B_KN.mT)

    with OperationCount() as counted:
        Twice.apply(A_MK.clone().requires_grad_()).sum().backward()
    assert counted.total == 2 * ONE


def test_transforms_count_as_fftw_does() -> None:
    with OperationCount() as counted:
        torch.fft.fft(torch.zeros(4, 8, dtype=torch.complex64))
    assert counted.total == 5 * 32 * 3
    with OperationCount() as counted:
        torch.fft.rfft(torch.zeros(4, 8))
    assert counted.total == 5 * 32 * 3 / 2


@pytest.mark.parametrize("length", [8, 7])
def test_a_real_transform_and_its_inverse_count_alike(length: int) -> None:
    x = torch.zeros(4, 6, length)
    with OperationCount() as there:
        spectrum = torch.fft.rfft2(x)
    with OperationCount() as back:
        assert torch.fft.irfft2(spectrum, s=x.shape[1:]).shape == x.shape
    real_numbers = 4 * 6 * length
    assert there.total == back.total == int(2.5 * real_numbers * (math.log2(6) + math.log2(length)))


def test_elementwise_work_does_not_count() -> None:
    with OperationCount() as counted:
        (C_MN.exp() + C_MN).sum()
    assert counted.total == 0
