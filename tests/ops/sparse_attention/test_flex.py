"""FlexAttention: equal where it runs, a reason where it does not, and nothing made anew from call to call."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from formers.ops import PairBias, sparse_attention
from formers.ops.common import flex_kernel
from formers.ops.common.flex_kernel import TILE
from formers.ops.sparse_attention import flex
from formers.ops.sparse_attention.flex_tiles import tile_map
from formers.patterns import Blockwise, Columns, Every, Global, Local2D, Random, Strided, Window
from formers.testing.tolerance import assert_close_derived

spec = importlib.util.spec_from_file_location("known", Path(__file__).parents[2] / "patterns" / "known.py")
known = importlib.util.module_from_spec(spec)
spec.loader.exec_module(known)
CPU = torch.device("cpu")


def drawn(length, keys=None, heads=4, kv_heads=2, dtype=torch.float64):
    draw = torch.Generator().manual_seed(length)
    keys = length if keys is None else keys
    sizes = (heads, length, 11), (kv_heads, keys, 11), (kv_heads, keys, 7)
    return [torch.randn(2, *size, generator=draw, dtype=dtype) for size in sizes]


def some(length, share, seed=0):
    return torch.rand(2, length, generator=torch.Generator().manual_seed(seed)) < share


def compare(on_flex, pattern, inputs, **options):
    """Compare values and gradients of the form, on FlexAttention as it is defined, with those of the formula."""
    on_flex(flex)
    names = ["q", "k", "v", "bias"]

    def form(impl):
        def run(q, k, v, bias=None):
            if impl == "naive":
                return sparse_attention(q, k, v, pattern, impl=impl, bias=bias, **options)
            given = None if bias is None else bias if isinstance(bias, PairBias) else PairBias.of_tensor(bias)
            patterns = tuple(pattern) if isinstance(pattern, list) else (pattern,)
            settings = {"causal": False, "key_mask_bs": None, "global_bs": None, **options}
            return flex.sparse_attention(q, k, v, patterns, bias=given, scale=q.shape[3] ** -0.5, **settings)

        return run

    assert_close_derived(form("flex"), form("naive"), inputs, dtype=torch.float32, names=names)


@pytest.mark.parametrize("pattern", known.PATTERNS, ids=str)
def test_equals_the_formula_with_gradients(pattern, on_flex):
    for causal, length, keys in ((False, 150, 150), (True, 256, 256), (True, 40, 150), (False, 150, 40)):
        compare(on_flex, pattern, drawn(length, keys), causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "pattern", [Window(16) | Global(0), Columns(20), [Random(2), Window(5), Blockwise((1, 0))]], ids=str
)
def test_masks_global_tokens_and_biases(pattern, causal, on_flex):
    bias = torch.randn(4, 150, 150, dtype=torch.float64)
    mask, tokens = some(150, 0.7), some(150, 0.05, seed=1)
    compare(on_flex, pattern, drawn(150), causal=causal, key_mask_bs=mask)
    compare(on_flex, pattern, [*drawn(150), bias], causal=causal, global_bs=tokens)
    compare(on_flex, pattern, [*drawn(150), bias[:1, :, :1]], causal=causal, key_mask_bs=mask, global_bs=tokens)
    compare(on_flex, pattern, drawn(60, 150), causal=causal, key_mask_bs=mask, global_bs=tokens)


def test_torch_runs_it():
    q, k, v = drawn(150, dtype=torch.float32)
    options = {"key_mask_bs": some(150, 0.7), "global_bs": some(150, 0.05, seed=1), "bias": torch.randn(4, 150, 1)}
    for pattern, given in (
        ([Window(16) | Global(0), Random(2)], options),
        (Columns(20), {}),
        (Window(9), {"causal": True}),
    ):
        with torch.no_grad():
            got = sparse_attention(q, k, v, pattern, impl="flex", **given)
        torch.testing.assert_close(got, sparse_attention(q, k, v, pattern, impl="naive", **given))


def test_nothing_is_made_or_compiled_again(monkeypatch):
    flex_kernel._compiled.cache_clear()
    made, compiled = [], []
    monkeypatch.setattr(flex, "tile_map", lambda *given, make=flex.tile_map: made.append(given) or make(*given))
    compile_ = lambda run, backend, **options: torch_compile(  # noqa: E731
        run, backend=lambda graph, inputs: compiled.append(run) or graph, **options
    )
    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_)
    q, k, v = drawn(90, dtype=torch.float32)
    monkeypatch.setattr(flex, "_LAYOUTS", flex._Layouts())
    with torch.no_grad():
        for seed in range(3):
            mask, bias = some(90, 0.7, seed), torch.randn(90, generator=torch.Generator().manual_seed(seed))
            for options in (
                {},
                {"key_mask_bs": mask},
                {"global_bs": mask},
                {"bias": bias},
                {"key_mask_bs": mask, "bias": bias},
            ):
                sparse_attention(q, k, v, Window(7), causal=True, impl="flex", **options)
        for width in range(1, 10):  # more than torch lets one piece of code be compiled for
            sparse_attention(q, k, v, Window(width), causal=True, impl="flex")
    assert len(compiled) == 5 + 8
    assert len(made) == 9 + 2  # once more where tokens may not be reordered, and for the very places that a bias counts


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_lengths_of_a_tile_and_all_layers_share_one_kernel(causal, masked):
    flex_kernel._compiled.cache_clear()
    with torch.no_grad():
        for length in (130, 131, 200, 256):
            mask = some(length, 0.7) if masked or (length == 256 and not causal) else None  # no token is added there
            for layer in range(3):
                pattern = Window(7) | Random(blocks=1, block=128, layer=layer)
                sparse_attention(*drawn(length), pattern, causal=causal, key_mask_bs=mask, impl="flex")
    assert flex_kernel._compiled.cache_info().currsize == 1


def test_a_use_that_changes_all_the_time_raises_instead_of_forming_all_scores():
    q, k, v = drawn(20, dtype=torch.float32)

    def of_places(number):
        return PairBias(lambda b, q_nl, k_ns: None, (), lambda: lambda b, h, q, k: q * 0.1 * number)

    def run_often():
        for number in range(20):
            sparse_attention(q, k, v, Window(2), bias=of_places(number), impl="flex")

    with torch.no_grad(), pytest.raises(RuntimeError, match="such as a number that a bias reads"):
        run_often()


def test_tiles_are_found_without_looking_at_every_pair(monkeypatch):
    length, asked = 1 << 15, []
    pattern = Window(128) | Global(0)
    test = type(pattern).mask_on
    monkeypatch.setattr(
        type(pattern),
        "mask_on",
        lambda self, device: lambda q, k: asked.append((q + k).numel()) or test(self, device)(q, k),
    )
    tiles = tile_map(pattern, length, length, True, CPU)
    assert sum(asked) < 4 * length * TILE
    assert tiles.count < 4 * length / TILE


@pytest.mark.parametrize("pattern", [Strided(64, "columns"), Window(32, dilation=64), Local2D(16, 256)], ids=str)
def test_tokens_are_reordered_where_that_saves_tiles(pattern):
    folded = tile_map(pattern, 4096, 4096, True, CPU)
    assert folded.order_c is not None
    assert folded.count < 0.7 * tile_map(pattern, 4096, 4096, True, CPU, may_fold=False).count


def test_it_says_what_it_cannot_do():
    q, k, v = (t.requires_grad_() for t in drawn(20, dtype=torch.float32))
    with pytest.raises(ValueError, match=r"'flex' cannot run on these inputs: FlexAttention has no gradients on a CPU"):
        sparse_attention(q, k, v, Window(2), impl="flex")
    with pytest.raises(ValueError, match="no FlexAttention for meta tensors"):
        sparse_attention(q.to("meta"), k.to("meta"), v.to("meta"), Window(2), impl="flex")
    with torch.no_grad(), pytest.raises(ValueError, match="not made pair by pair"):
        sparse_attention(q, k, v, Window(2), impl="flex", bias=PairBias(lambda b, q, k: q, ()))
    with torch.no_grad(), pytest.raises(ValueError, match="no queries"):
        sparse_attention(q[:, :, :0], k, v, Every(), impl="flex")
