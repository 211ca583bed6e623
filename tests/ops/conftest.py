"""What the tests of the ops share: inputs, and scripts that run kernels in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import AuxOutput

from formers.ops.common.flex_kernel import TILE


@pytest.fixture
def kernel_script(request):
    """Runs a script beside the test that needs Triton, and returns what it prints last, read as JSON."""

    def run(name: str, *words: str) -> Any:
        pytest.importorskip("triton")
        command = [sys.executable, str(Path(request.path).with_name(name)), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def fp32_precision_kept():
    """Sets the precision of float32 products back to what torch starts with."""
    yield
    torch.set_float32_matmul_precision("highest")
    for part in (torch.backends, torch.backends.cudnn, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
        part.fp32_precision = "none"  # a compiler sets the products' to what it was for all of torch


@pytest.fixture
def randn():
    """Draws from a normal distribution, float64; the same shape and seed give the same numbers."""

    def draw(*shape, seed=0):
        return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture
def rand(randn):
    """Positive features."""
    return lambda *shape, seed=0: randn(*shape, seed=seed).sigmoid()


@pytest.fixture
def padding():
    """Masks that are True where a token is real: some masked on the left, on the right, in between, or a whole row."""

    def mask(kind, batch, length):
        if kind is None:
            return None
        at = torch.arange(length)
        hidden = {
            "left": lambda row: at <= row,
            "right": lambda row: at >= length - 1 - row,
            "interior": lambda row: at % 3 == (row + 1) % 3,
            "row": lambda row: torch.full((length,), row == 0),
        }[kind]
        return torch.stack([~hidden(row) for row in range(batch)])

    return mask


@pytest.fixture
def poison():
    """Puts NaN, infinities and huge numbers where the mask is False, along an axis of the tensor."""

    def fill(t, mask, axis):
        if mask is None:
            return t
        shape = [1] * t.dim()
        shape[0], shape[axis] = mask.shape
        bad = torch.tensor([float("nan"), float("inf"), 1e30], dtype=t.dtype)
        bad = bad.repeat(-(-t.shape[-1] // 3))[: t.shape[-1]]
        return torch.where(mask.view(shape), t, bad)

    return fill


@pytest.fixture
def on_flex(monkeypatch):
    """Makes the flex form of an op, a module, run on FlexAttention as it is defined, gradients too."""

    def use(form):
        monkeypatch.setattr(form, "flex_kernel", by_definition)
        monkeypatch.setattr(form, "unsupported_reasons", lambda inputs: [])

    return use


def by_definition(q, k, v, use, *, block_mask, score_mod, scale, enable_gqa=False, return_aux=None):
    """Return what FlexAttention is defined to: tiles that are skipped, whole or asked about, all in plain operations.

    Unlike torch's own on a CPU, it has gradients.
    """
    (batch, heads, rows, _), keys = q.shape, k.shape[2]
    k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    at = torch.meshgrid(*(torch.arange(n) for n in (batch, heads, rows, keys)), indexing="ij")
    seen = torch.ones((), dtype=torch.bool)
    if block_mask is not None:
        kinds = [
            (block_mask.kv_num_blocks, block_mask.kv_indices),
            (block_mask.full_kv_num_blocks, block_mask.full_kv_indices),
        ]
        partly, wholly = (as_pairs(count, index, rows, keys) for count, index in kinds)
        assert not (partly & wholly).any()
        seen = (partly & block_mask.mask_mod(*at)) | wholly
    s = q @ k.mT * scale
    s = (s if score_mod is None else score_mod(s, *at)).masked_fill(~seen, -torch.inf)
    dead = (s == -torch.inf).all(3, keepdim=True)
    y = s.masked_fill(dead, 0).softmax(3).masked_fill(dead, 0) @ v
    lse = s.masked_fill(dead, 0).logsumexp(3).masked_fill(dead.squeeze(3), -torch.inf)
    return y if return_aux is None else (y, AuxOutput(lse=lse))


def as_pairs(count, index, rows, keys):
    tiles = torch.zeros(index.shape, dtype=torch.bool)
    tiles.scatter_(3, index.long(), torch.arange(index.shape[3]) < count[..., None])
    return tiles.repeat_interleave(TILE, 2).repeat_interleave(TILE, 3)[..., :rows, :keys]
