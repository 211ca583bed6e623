"""Compile the Triton kernels of all ops for GPUs that need not be there, and print what they take as JSON.

`python compiled.py 90` compiles for compute capability 9.0. A driver that only names the target stands in for the
real one; what Triton makes of the kernels is what it makes on such a GPU.
"""

from __future__ import annotations

import json
import sys

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from formers.ops.linear_attention import exp_features_triton, fourier_features_triton
from formers.ops.linear_attention.triton_launch import TritonInputs, TritonOptions, backward, forward
from formers.ops.token_mixing import triton_fold
from formers.ops.token_wise import triton_max_norm, triton_opposite_softmaxes


class NamedTarget:
    """A driver without a device."""

    def __init__(self, capability: int):
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


CALLS = {
    "elu, normalised": (64, 64, torch.bfloat16, TritonOptions(True, True, 1e-18, "elu"), False),
    "decay, float16": (64, 64, torch.float16, TritonOptions(True, True, 1e-18, "exp"), True),
    "512 features": (300, 64, torch.bfloat16, TritonOptions(True, True, 1e-18, "identity"), True),
    "float32 by TF32, decay": (128, 64, torch.float32, TritonOptions(True, True, 1e-18, "identity"), True),
    "256 features": (256, 64, torch.bfloat16, TritonOptions(True, True, 1e-18, "identity"), False),
    "256 features, decay": (129, 48, torch.bfloat16, TritonOptions(True, True, 1e-18, "identity"), True),
    "512 features of float32 by TF32": (266, 64, torch.float32, TritonOptions(True, True, 1e-18, "identity"), False),
    "all pairs, not normalised": (64, 64, torch.bfloat16, TritonOptions(False, False, 0.0, "identity"), False),
}


def main() -> None:
    torch.set_float32_matmul_precision("high")
    driver.set_active(NamedTarget(int(sys.argv[1])))
    shared: dict[str, int] = {}
    run = JITFunction.run

    def compile_alone(self, *arguments, grid, warmup, **options):
        kernel = run(self, *arguments, grid=grid, warmup=True, **options)
        assert kernel.asm["cubin"]
        shared[f"{self.fn.__name__} {kernel.hash[:8]}"] = kernel.metadata.shared

    JITFunction.run = compile_alone
    for features, width, dtype, options, decays in CALLS.values():
        q, k = (torch.empty(1, 2048, 16, features, dtype=dtype).transpose(1, 2) for _ in range(2))
        v = torch.empty(1, 2048, 16, width, dtype=dtype).transpose(1, 2)
        given = TritonInputs(q, k, v, None, None, torch.empty(1, 16, 2048) if decays else None, None)
        found = forward(given, options)
        backward(given, found, (torch.empty_like(found.y), None, None), options)
    for features, width in ((266, 64), (620, 128)):
        q, w, shift = torch.empty(1, 12, 2048, width), torch.empty(features, width), torch.empty(1, 12, 2048)
        phi = exp_features_triton.features(q, w, None, torch.bfloat16)
        exp_features_triton.gradients(phi, phi, w, q, shift)
        x, w = q.bfloat16(), w[:width]
        phi = fourier_features_triton.features(x, w, torch.bfloat16)
        fourier_features_triton.gradients(phi, phi, w, x)
    x = torch.empty(512, 768, dtype=torch.bfloat16)
    triton_max_norm.normalized(x, 1e-3)
    triton_max_norm.gradient_of(x, x, 1e-3)
    phi = triton_opposite_softmaxes.both(x)
    triton_opposite_softmaxes.gradient_of(x, phi, phi)
    even, odd = triton_fold.fold(x[None])
    triton_fold.unfold(even, odd, *x.shape)
    print(json.dumps(shared))


if __name__ == "__main__":
    main()
