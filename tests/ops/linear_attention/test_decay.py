"""Linear attention with a decay against its recurrence, and what is promised of the decay."""

from __future__ import annotations

import importlib
import itertools

import pytest
import torch
from torch.nn.functional import logsigmoid

from formers.ops import LinearState, linear_attention
from formers.ops.common.workspace import Workspace
from formers.ops.linear_attention import chunked
from formers.ops.linear_attention.decay import chunk_decay, log_decay_gradient
from formers.ops.linear_attention.running_sums import running_sums
from formers.testing.tolerance import assert_close_derived

NAMES = ["q", "k", "v", "log decay", "S", "z"]
DECAYS = {
    "moderate": lambda gate: logsigmoid(3 * gate),
    "none": torch.zeros_like,
    "strong": lambda gate: -50 * gate.abs(),
    "all or nothing": lambda gate: torch.where(gate > 0.8, -1e4, 0.0),
    "very strong": lambda gate: torch.full_like(gate, -1e4),
    "mixed": lambda gate: torch.where(gate > 0.5, -1e4 * gate, logsigmoid(gate)),
}


@pytest.fixture(params=[8192, 100], ids=["one tile", "many tiles"])
def tokens_at_once(request, monkeypatch):
    monkeypatch.setattr(chunked, "TOKENS_AT_ONCE", request.param)


def given(rand, randn, length: int, decay: str = "moderate") -> list[torch.Tensor]:
    q, k = rand(2, 3, length, 5, seed=1), rand(2, 3, length, 5, seed=2)
    return [q, k, randn(2, 3, length, 4, seed=3), DECAYS[decay](randn(2, 3, length, seed=4))]


def sums(rand, randn) -> list[torch.Tensor]:
    return [randn(2, 3, 5, 4, seed=5), rand(2, 3, 5, seed=6)]


def form(impl: str, **options):
    """Return the op as a function of q, k, v, log g, S and z."""

    def run(q, k, v, g, s, z):
        work = torch.promote_types(s.dtype, torch.float32)
        state = LinearState(s.to(work), z.to(work))
        return tuple(linear_attention(q, k, v, log_decay_bhl=g, causal=True, state=state, impl=impl, **options))

    return run


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", [None, "left", "interior", "row"])
@pytest.mark.parametrize("length", [1, 2, 37, 63, 64, 65, 129, 150])
def test_equals_the_recurrence(rand, randn, padding, poison, tokens_at_once, length, kind, normalize):
    mask = padding(kind, 2, length)
    q, k, v, g = given(rand, randn, length)
    g = g if mask is None else g.where(mask[:, None], torch.nan)
    inputs = [q, poison(k, mask, 2), poison(v, mask, 2), g, *sums(rand, randn)]
    options = {"normalize": normalize, "key_mask_bs": mask}
    assert_close_derived(form("torch", **options), form("naive", **options), inputs, names=NAMES)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", DECAYS)
def test_any_strength_of_decay(rand, randn, decay, dtype, normalize):
    inputs = [*given(rand, randn, 200, decay), *sums(rand, randn)]
    options = {"normalize": normalize}
    assert_close_derived(form("torch", **options), form("naive", **options), inputs, dtype=dtype, names=NAMES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types(rand, randn, dtype):
    inputs = [*given(rand, randn, 150), *sums(rand, randn)]
    assert_close_derived(form("torch"), form("naive"), inputs, dtype=dtype, names=NAMES)


@pytest.mark.parametrize("length", [5, 64, 150])
def test_a_beginning_without_a_state(rand, randn, length):
    def run(impl):
        return lambda q, k, v, g: tuple(linear_attention(q, k, v, causal=True, log_decay_bhl=g, impl=impl))

    assert_close_derived(run("torch"), run("naive"), given(rand, randn, length), names=NAMES[:4])


def test_decay_in_float32_beside_half_types(rand, randn):
    q, k, v, g = (t.float() for t in given(rand, randn, 150))
    halves = [t.bfloat16() for t in (q, k, v)]
    found, _ = linear_attention(*halves, causal=True, log_decay_bhl=g.requires_grad_())
    wanted, _ = linear_attention(*(t.float() for t in halves), causal=True, log_decay_bhl=g)
    torch.testing.assert_close(found, wanted.bfloat16())
    assert torch.autograd.grad(found.sum(), g)[0].dtype == torch.float32


def test_one_everywhere_is_linear_attention(rand, randn):
    *qkv, g = given(rand, randn, 150, "none")
    found, state = linear_attention(*qkv, causal=True, log_decay_bhl=g)
    wanted, end = linear_attention(*qkv, causal=True)
    torch.testing.assert_close(found, wanted, rtol=1e-15, atol=1e-15)
    torch.testing.assert_close(tuple(state), tuple(end), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("impl", ["torch", "naive"])
def test_zero_forgets_all_that_was_before(rand, randn, impl):
    *qkv, g = given(rand, randn, 150)
    g[:, :, 70] = -torch.inf
    inputs = [t.requires_grad_() for t in (*qkv, g)]
    whole, state = linear_attention(*qkv, causal=True, log_decay_bhl=g, impl=impl)
    rest = [t[:, :, 70:] for t in (*qkv, g)]
    after, end = linear_attention(*rest[:3], causal=True, log_decay_bhl=rest[3], impl=impl)
    torch.testing.assert_close(whole[:, :, 70:], after)
    torch.testing.assert_close(state, end)
    gradients = torch.autograd.grad(whole[:, :, 70:].sum() + state.s_bhmv.sum(), inputs)
    assert all(t.isfinite().all() for t in gradients)
    assert not any(t[:, :, :70].any() for t in gradients)


@pytest.mark.parametrize("cuts", [[1] * 20 + [130], [37, 37, 37, 39], [0, 64, 1, 85], [150]])
@pytest.mark.parametrize("normalize", [True, False])
def test_one_pass_is_chunks_is_steps(rand, randn, padding, normalize, cuts):
    inputs, mask = given(rand, randn, 150), padding("left", 2, 150)
    options = {"causal": True, "normalize": normalize}
    whole, end = linear_attention(*inputs[:3], log_decay_bhl=inputs[3], key_mask_bs=mask, **options)
    state, ys = None, []
    for i, j in itertools.pairwise([0, *itertools.accumulate(cuts)]):
        *qkv, g = (t[:, :, i:j] for t in inputs)
        y, state = linear_attention(*qkv, log_decay_bhl=g, key_mask_bs=mask[:, i:j], state=state, **options)
        ys.append(y)
    torch.testing.assert_close(torch.cat(ys, 2), whole)
    torch.testing.assert_close(tuple(state), tuple(end))


def test_gradients_are_those_of_small_steps(rand, randn):
    inputs = [t.requires_grad_() for t in (*given(rand, randn, 70), *sums(rand, randn))]
    inputs[3] = (inputs[3].detach() - 0.1).requires_grad_()

    def run(*t):
        y, state = form("torch")(*t)
        return y, *state

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def test_only_inputs_are_kept_for_the_backward_pass(rand, randn):
    saved = []
    inputs = [t.requires_grad_() for t in given(rand, randn, 150)]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()), lambda t: t):
        linear_attention(*inputs[:3], causal=True, log_decay_bhl=inputs[3])
    assert sum(saved) == sum(t.numel() for t in inputs) + 2 * 3 * 5 * (4 + 1)  # and the first state


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_decay_between_tokens_is_the_product_of_what_lies_between(rand, chunk):
    log_g = rand(4, chunk).log()
    decay = chunk_decay(log_g, Workspace(log_g, log_g.dtype))
    for i, j in itertools.product(range(chunk), repeat=2):
        wanted = log_g[:, j + 1 : i + 1].sum(1).exp() if j <= i else torch.zeros(4, dtype=log_g.dtype)
        torch.testing.assert_close(decay.between_ncc[:, i, j], wanted)
    torch.testing.assert_close(decay.since_start_nc1[..., 0], log_g.cumsum(1).exp())
    torch.testing.assert_close(decay.to_end_nc1[..., 0], (log_g.sum(1, keepdim=True) - log_g.cumsum(1)).exp())
    torch.testing.assert_close(decay.whole_n11.flatten(), log_g.sum(1).exp())


def test_the_gradient_of_a_decay_is_what_crosses_it(randn):
    pairs, to_queries, from_keys, whole = randn(2, 7, 7), randn(2, 7, seed=1), randn(2, 7, seed=2), randn(2, 1, seed=3)
    found = log_decay_gradient(pairs, to_queries, from_keys, whole)
    for at in range(7):
        crossing = pairs[:, at:, :at].sum((1, 2)) + to_queries[:, at:].sum(1) + from_keys[:, :at].sum(1) + whole[:, 0]
        torch.testing.assert_close(found[:, at], crossing)


def test_a_decay_must_be_causal_and_fit(rand, randn):
    *qkv, g = given(rand, randn, 5)
    with pytest.raises(ValueError, match=r"a decay needs an order: pass causal=True"):
        linear_attention(*qkv, log_decay_bhl=g)
    with pytest.raises(ValueError, match=r"log_decay has size 4 on axis L"):
        linear_attention(*qkv, causal=True, log_decay_bhl=g[..., :4])


@pytest.mark.parametrize("backwards", [False, True])
def test_sums_over_a_number_of_chunks_left_open_are_those_of_the_loop(rand, randn, monkeypatch, backwards) -> None:
    def summed(a, b, start, decay):
        workspace = Workspace(a, a.dtype, enabled=False)
        return running_sums(a, b, start, decay, count=7, workspace=workspace, name="s", backwards=backwards)

    def one_after_the_other(a, b, start, decay):
        each, states = torch.empty(2, 7, 5, 4, dtype=a.dtype), start[0]
        steps, decay = (a @ b).view(2, 7, 5, 4), decay.view(2, 7, 1, 1)
        for n in reversed(range(7)) if backwards else range(7):
            each[:, n] = states
            states = decay[:, n] * states + steps[:, n]
        return each.flatten(0, 1), states.unsqueeze(0)

    decay = rand(2 * 7, 1, 1, seed=4)
    decay[3] = 0  # nothing from before is left
    inputs = randn(2 * 7, 5, 3, seed=1), randn(2 * 7, 3, 4, seed=2), randn(1, 2, 5, 4, seed=3), decay
    assert_close_derived(summed, one_after_the_other, inputs, gradients=False)
    monkeypatch.setattr(importlib.import_module(running_sums.__module__), "is_left_open", lambda size: True)
    assert_close_derived(summed, one_after_the_other, inputs, gradients=False)
