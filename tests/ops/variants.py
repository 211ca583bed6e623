"""Count the variants of each Triton kernel that many lengths ask for, compiling none, and print them as JSON."""

from __future__ import annotations

import json
import random

import torch
from compiled import NamedTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from formers.ops.linear_attention import exp_features_triton, fourier_features_triton
from formers.ops.linear_attention.triton_launch import TritonInputs, TritonOptions, backward, forward
from formers.ops.token_mixing import triton_fold
from formers.ops.token_wise import triton_max_norm, triton_opposite_softmaxes

HEADS, WIDTH = 12, 64


def call(length: int) -> None:
    """Launch every kernel on a sequence of a length: chunks, one a segment, and a mask and a decay or neither."""
    q, k, v = (torch.empty(1, length, HEADS, WIDTH, dtype=torch.bfloat16).transpose(1, 2) for _ in range(3))
    log_g, mask = torch.empty(1, length, HEADS).transpose(1, 2), torch.empty(1, length, dtype=torch.uint8)
    options = TritonOptions(True, True, 1e-18, "elu")
    for given in (TritonInputs(q, k, v, None, None, *others) for others in ((None, None), (log_g, mask))):
        found = forward(given, options)
        backward(given, found, (torch.empty_like(found.y), None, None), options)
    x, w = q.float(), torch.empty(266, WIDTH)
    phi = exp_features_triton.features(x, w, None, torch.bfloat16)
    exp_features_triton.gradients(phi, phi, w, x, x[..., 0])
    fourier_features_triton.gradients(fourier_features_triton.features(x, w, torch.bfloat16), phi, w, x)
    rows = q.transpose(1, 2).flatten(2)
    triton_max_norm.gradient_of(rows, triton_max_norm.normalized(rows, 1e-3), 1e-3)
    triton_opposite_softmaxes.gradient_of(rows, triton_opposite_softmaxes.both(rows), rows)
    triton_fold.unfold(*triton_fold.fold(rows), length, rows.shape[2])


def main() -> None:
    driver.set_active(NamedTarget(90))
    keys: dict[str, set[str]] = {}
    run = JITFunction.run
    JITFunction.run = lambda self, *given, grid, warmup, **options: run(self, *given, grid=grid, warmup=True, **options)
    JITFunction._do_compile = lambda self, key, *_: keys.setdefault(self.fn.__name__, set()).add(key)
    call(1111)
    once = {name: len(several) for name, several in keys.items()}
    draw = random.Random(0)
    for length in (1024, 2048, 4096, *(draw.randint(1000, 5000) for _ in range(40))):
        call(length)
    print(json.dumps({"once": once, "often": {name: len(several) for name, several in keys.items()}}))


if __name__ == "__main__":
    main()
