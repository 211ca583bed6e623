"""Whether float32 is multiplied by TF32, in every way that torch is told so."""

from __future__ import annotations

import pytest
import torch

from formers.ops.common.tf32 import multiplies_in_tf32
from formers.ops.linear_attention import feature_rows, triton_form
from formers.ops.linear_attention.triton_grid import precision_of

WAYS = {
    "nothing": (lambda: None, False),
    "high": (lambda: torch.set_float32_matmul_precision("high"), True),
    "medium": (lambda: torch.set_float32_matmul_precision("medium"), True),
    "highest": (lambda: torch.set_float32_matmul_precision("highest"), False),
    "allow_tf32": (lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True), True),
    "all of torch": (lambda: setattr(torch.backends, "fp32_precision", "tf32"), True),
    "all of torch, exact": (lambda: setattr(torch.backends, "fp32_precision", "ieee"), False),
    "products": (lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"), True),
    "all of CUDA": (lambda: setattr(torch.backends.cudnn, "fp32_precision", "tf32"), True),
}


@pytest.fixture(params=WAYS)
def set_by(request, fp32_precision_kept):
    """Sets torch in one way, and returns whether products are in TF32 then."""
    set_it, wanted = WAYS[request.param]
    set_it()
    return wanted


def test_every_way_is_known(set_by):
    assert multiplies_in_tf32() is set_by


def test_kernels_and_forms_ask_in_every_way(set_by):
    """Some getters of torch's raise an error where TF32 was set in another way than theirs."""
    q = torch.zeros(1, 1, 4, 600)
    inputs = triton_form.LinearInputs(q, q, q, True, None, None, True, 1e-18, None, "elu")
    assert bool(triton_form.slow_reasons(inputs)) is not set_by
    assert bool(feature_rows.slow_reasons((q, q[0, 0], None, torch.float32))) is not set_by
    assert precision_of() == ("tf32" if set_by else "ieee")
