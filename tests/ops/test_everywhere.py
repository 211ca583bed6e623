"""What holds for every op: it needs torch alone, compiles without a break, and runs on the meta device."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from formers import ops
from formers.ops.common import triton_reasons
from formers.ops.common.dispatch import Forms

ONLY_TORCH = """
import sys, torch

class Block:
    def find_spec(self, name, path=None, target=None):
        standard = name.startswith("_sysconfigdata") or name.partition(".")[0] in sys.stdlib_module_names
        if not standard and name.partition(".")[0] not in {"torch", "formers"}:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

for name in [n for n in sys.modules if n.partition(".")[0] == "numpy"]:
    del sys.modules[name]
sys.meta_path.insert(0, Block())
import formers.ops
x = torch.rand(1, 1, 5, 4)
formers.ops.attention(x, x, x)
formers.ops.linear_attention(x, x, x, causal=True)
"""


def test_import_needs_torch_alone():
    run = subprocess.run([sys.executable, "-c", ONLY_TORCH], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def heads(**options):
    return [torch.rand(2, 2, 70, 8, **options) for _ in range(3)]


def late(start, stop):
    return torch.arange(70.0).expand(1, 2, stop - start, 70)


MASK = torch.arange(70).expand(2, 70) > 4
CALLS = {
    "attention": lambda q, k, v: ops.attention(q, k, v, causal=True),
    "attention, masked": lambda q, k, v: ops.attention(q, k, v, causal=True, key_mask_bs=MASK.to(q.device)),
    "attention, biased": lambda q, k, v: ops.attention(q, k, v, bias=lambda i, j: late(i, j).to(q.device)),
    "metric_attention": lambda q, k, v: ops.metric_attention(q, k[0, :, :8], causal=True) + 0 * v,
    "linear_attention": lambda q, k, v: ops.linear_attention(q, k, v)[0],
    "linear_attention, causal": lambda q, k, v: ops.linear_attention(q, k, v, causal=True)[0],
    "linear_attention of itself": lambda q, k, v: ops.linear_attention(q, q, q, causal=True)[0] + 0 * (k + v),
    "dense_attention of itself": lambda q, k, v: ops.dense_attention(q, q, causal=True)[0] + 0 * (k + v),
    "linear_attention, decay": lambda q, k, v: ops.linear_attention(q, k, v, causal=True, log_decay_bhl=-q[..., 0])[0],
    "dense_attention": lambda q, k, v: ops.dense_attention(q, k, causal=True)[0] + ops.dense_attention(k, v)[0],
    "kernel_attention": lambda q, k, v: ops.kernel_attention(q, k, v, torch.exp, causal=True),
    "kernel_attention, blocks": lambda q, k, v: ops.kernel_attention(q, k, v, torch.exp, impl="blocks"),
    "fourier_mix": lambda q, k, v: ops.fourier_mix((q + k + v)[0], impl="torch"),
    "fourier_mix, matmul": lambda q, k, v: ops.fourier_mix((q + k + v)[0], impl="matmul"),
    "pool_mix": lambda q, k, v: ops.pool_mix((q + k + v)[:, 0], mask_bl=MASK.to(q.device), causal=True)[0],
}
ON_TRITON = {
    "linear_attention",
    "linear_attention, causal",
    "linear_attention of itself",
    "dense_attention of itself",
    "linear_attention, decay",
    "dense_attention",
}
"""What one of Triton's kernels computes where a compiler traces; others it leaves to operations of torch."""


@pytest.mark.parametrize("name", CALLS)
def test_compiles_without_a_break(name):
    torch._dynamo.reset()
    given = [t.requires_grad_() for t in heads()]
    compiled = torch.compile(CALLS[name], fullgraph=True, backend="aot_eager")
    wanted, found = CALLS[name](*given), compiled(*given)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(y.square().sum(), given) for y in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.fixture
def gpu_order(monkeypatch, fp32_precision_kept):
    """Lets "auto" choose on a CPU as on a GPU that multiplies by TF32, Triton's kernels included."""
    monkeypatch.setattr(triton_reasons, "INSTALLED", True)
    monkeypatch.setattr(triton_reasons, "_INTERPRETED", True)
    for forms in Forms.registry.values():
        monkeypatch.setitem(forms.preference, "cpu", forms.preference.get("cuda", forms.preference["cpu"]))
    torch.backends.fp32_precision = "tf32"  # the newer of the ways, after which getters of the others raise an error


@pytest.mark.parametrize("name", CALLS)
def test_a_gpus_choice_compiles_without_a_break(name, gpu_order):
    """In float32, whose form hangs on TF32. Graphs are made and not run, since no kernel of a GPU can here."""
    torch._dynamo.reset()
    found = []

    def make_alone(graph, inputs):
        found.extend(str(node.target) for node in graph.graph.nodes)
        (made,) = graph.graph.output_node().args[0]
        return lambda *given: (torch.zeros(made.meta["example_value"].shape),)

    with torch.no_grad():
        torch.compile(CALLS[name], fullgraph=True, backend=make_alone)(*heads())
    assert ("formers_triton.linear_forward" in found) is (name in ON_TRITON)


@pytest.mark.parametrize("lengths", [(70, 130), pytest.param((70, 130, 1), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize(  # the causal one takes half a minute; what traces `linear` whole sees it at a second length
    "name", ["attention", "linear_attention", pytest.param("linear_attention, causal", marks=pytest.mark.slow)]
)
def test_compiles_for_any_length(name, lengths):
    torch._dynamo.reset()
    compiled = torch.compile(CALLS[name], fullgraph=True, backend="eager", dynamic=True)
    for length in lengths:
        given = [t.requires_grad_() for t in torch.rand(3, 2, 2, length, 8).unbind()]
        wanted, found = CALLS[name](*given), compiled(*given)
        torch.testing.assert_close(found, wanted)
        gradients = [torch.autograd.grad(y.square().sum(), given) for y in (found, wanted)]
        torch.testing.assert_close(*gradients)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_compiles_to_native_code(name):
    torch._dynamo.reset()
    given = [t.requires_grad_() for t in heads()]
    compiled = torch.compile(CALLS[name], fullgraph=True)
    wanted, found = CALLS[name](*given), compiled(*given)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(y.square().sum(), given) for y in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", CALLS)
def test_runs_on_the_meta_device(name):
    given = heads(device="meta", requires_grad=True)
    y = CALLS[name](*given)
    assert y.shape == CALLS[name](*heads()).shape
    y.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [name for name in CALLS if "biased" not in name])  # those bring a float32 bias
def test_finite_in_half_types(name, dtype):
    given = [t.requires_grad_() for t in heads(dtype=dtype)]
    y = CALLS[name](*given)
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.float().mean(), given))


@pytest.mark.parametrize(
    "name", [name for name in CALLS if "attention" not in name or name.startswith(("linear", "dense", "kernel"))]
)
def test_autocast_does_not_narrow_what_is_summed_in_float32(name):
    given = [t.requires_grad_() for t in heads()]
    wanted = CALLS[name](*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = CALLS[name](*given)
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted)


def test_metric_attention_under_autocast():
    p, m = torch.rand(1, 2, 9, 8), torch.eye(8).repeat(2, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (p, p.bfloat16()):
            assert ops.metric_attention(given, m, causal=True).isfinite().all()
