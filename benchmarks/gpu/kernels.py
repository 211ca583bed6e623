"""Kernels in bfloat16, H=16, K=V=64: linear, metric and window attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.gpu.bench import Bench, both
from torch import Tensor
from torch.nn.functional import elu
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers import ops
from formers.ops.linear_attention import triton_grid
from formers.patterns import Window

HEADS, WIDTH = 16, 64
LENGTHS = {"4,096": (4, 4096), "16,384": (1, 16384), "65,536": (1, 65536)}
"""Name → batch and tokens."""
GRID = "formers.ops.linear_attention.triton_grid"


def heads(bench: Bench, batch: int, length: int, count: int = 3) -> list[Tensor]:
    """Return q, k and v as projections leave them: tokens outside heads."""
    shape = (batch, bench.size(length, 64), HEADS if not bench.toy else 2, WIDTH if not bench.toy else 16)
    return [bench.randn(*shape).detach().transpose(1, 2).requires_grad_() for _ in range(count)]


def linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return ops.linear_attention(q, k, v, causal=True, feature="elu")[0]


def fla_linear() -> Callable[..., Tensor] | None:
    """Return flash-linear-attention's kernel for (B, T, H, K), or None where it is not installed."""
    try:
        from fla.ops.linear_attn import chunk_linear_attn
    except ImportError:
        return None
    return lambda q, k, v: chunk_linear_attn(q, k, v, scale=1.0, normalize=False)[0]


def features_given(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
    """Return features and values as fla takes them."""
    given = [elu(q) + 1, elu(k) + 1, v]
    return [t.detach().transpose(1, 2).contiguous().requires_grad_() for t in given]


def linear_rows(bench: Bench) -> None:
    """Causal linear attention, normalised, its features made inside, against fla and SDPA; memory, too."""
    fla = fla_linear()
    for name, (batch, length) in LENGTHS.items():
        setting, given = f"L={name}", heads(bench, batch, length)
        own = bench.arm(f"linear {name}", lambda given=given: both(bench, linear, given))
        theirs = fla and bench.arm(f"fla {name}", lambda given=given: both(bench, fla, features_given(*given)))
        exact = length < 65536 and bench.arm(
            f"SDPA {name}", lambda given=given: both(bench, partial(sdpa, is_causal=True), given)
        )
        if own is None:
            continue
        for i, (kind, unit) in enumerate((("forward", "ms"), ("forward + backward", "ms"), ("memory", "MiB"))):
            if length > 4096:
                bench.row(f"linear, causal, {kind}", setting, own[i], theirs[i] if theirs else None, unit)
            if exact and kind != "memory":
                bench.row(f"linear, causal, against SDPA, {kind}", setting, own[i], exact[i], unit)


def tile_rows(bench: Bench) -> None:
    """Other tiles of the Triton form of linear attention, against those it has: no targets, but what to choose."""
    for name in ("16,384", "65,536"):
        given = heads(bench, *LENGTHS[name])
        own = bench.arm(f"tiles {name}", lambda given=given: both(bench, linear, given))
        for label, changes in tile_choices().items():
            found = bench.arm(f"tiles {name} {label}", lambda g=given, c=changes: changed(bench, g, c))
            if found and own:
                for i, kind in enumerate(("forward", "forward + backward")):
                    bench.row(f"linear, causal, {label}, {kind}", f"L={name}", found[i], own[i], against="as it is")


def changed(bench: Bench, given: list[Tensor], changes: dict[str, Any]) -> tuple[float, float, float | None]:
    """Return what linear attention takes with other tiles."""
    options = changes.get("tile_options", triton_grid.tile_options)  # which the launches import by name
    with patch.multiple(GRID, **changes), patch(GRID.replace("grid", "launch.tile_options"), options):
        return both(bench, linear, given)


def tile_choices() -> dict[str, dict[str, Any]]:
    def options(warps: int, stages: int) -> Callable[[int, int], dict[str, int]]:
        return lambda block_a, block_c: {"num_warps": warps, "num_stages": stages}

    choices: dict[str, dict[str, Any]] = {
        f"{warps} warps, {stages} stages": {"tile_options": options(warps, stages)}
        for warps in (4, 8)
        for stages in (1, 2, 3)
    }
    choices |= {f"{count} programs": {"PROGRAMS": count} for count in (256, 1024, 2048)}
    return choices | {"chunks of 128, 8 warps": {"ROWS": 128, "tile_options": options(8, 2)}}


def metric_rows(bench: Bench) -> None:
    """Metric attention against SDPA."""
    for name, (batch, length) in {"1,024": (4, 1024), **LENGTHS}.items():
        if length > 16384:
            continue
        p, k, v = heads(bench, batch, length)
        m = torch.eye(p.shape[3], device=bench.device, dtype=bench.dtype).repeat(p.shape[1], 1, 1).requires_grad_()
        run = partial(ops.metric_attention, causal=True)
        own = bench.arm(f"metric {name}", lambda p=p, m=m, run=run: both(bench, run, [p, m]))
        exact = bench.arm(f"SDPA {name}", lambda t=(p, k, v): both(bench, partial(sdpa, is_causal=True), t))
        for i, kind in enumerate(("forward", "forward + backward")):
            if own and exact:
                bench.row(f"metric, causal, {kind}", f"L={name}", own[i], exact[i])


def window_rows(bench: Bench) -> None:
    """Window attention against FlexAttention, compiled, with a mask that is kept."""
    for window in (128, 512):
        memory: dict[str, float | None] = {}
        for name, (_, length) in LENGTHS.items():
            given, case = heads(bench, 1, length), f"window({window})"
            run = partial(windowed, window=bench.size(window, 8))
            own = bench.arm(f"{case} {name}", lambda given=given, run=run: both(bench, run, given))
            bare = bench.arm(f"flex {window} {name}", lambda given=given, window=window: flex(bench, given, window))
            memory[name] = own[2] if own else None
            for i, kind in enumerate(("forward", "forward + backward")):
                if own:
                    bench.row(f"{case}, {kind}", f"L={name}", own[i], bare[i] if bare else None)
        bench.row(f"window({window}), memory", "L=65,536", memory["65,536"], memory["16,384"], "MiB")


def windowed(q: Tensor, k: Tensor, v: Tensor, *, window: int) -> Tensor:
    return ops.sparse_attention(q, k, v, Window(window), causal=True)


def flex(bench: Bench, given: list[Tensor], window: int) -> tuple[float, float, float | None] | None:
    """Return what bare FlexAttention takes; nothing on a CPU, where it has no gradients."""
    if bench.device != "cuda":
        return None
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def seen(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (j <= i) & (i - j <= window)

    length = given[0].shape[2]
    mask = create_block_mask(seen, None, None, length, length, bench.device, _compile=True)
    compiled: Any = torch.compile(flex_attention, dynamic=False)
    return both(bench, lambda q, k, v: compiled(q, k, v, block_mask=mask), given)
