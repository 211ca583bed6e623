"""Linear and dense attention against their plain forms, and what their docstrings promise."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from formers.ops import (
    LinearState,
    dense_attention,
    linear_attention,
    linear_state,
)
from formers.ops.linear_attention import chunked, matmul, naive
from formers.testing.tolerance import assert_close_derived

NAMES = ["q", "k", "v", "s", "z"]
LENGTHS = [1, 5, 64, 65, 150]


@pytest.fixture(params=[8192, 100], ids=["one piece", "many pieces"])
def tokens_at_once(request, monkeypatch):
    monkeypatch.setattr(chunked, "TOKENS_AT_ONCE", request.param)


def inputs(rand, randn, rows, keys):
    return [
        rand(2, 3, rows, 4, seed=1),
        rand(2, 3, keys, 4, seed=2),
        randn(2, 3, keys, 5, seed=3),
        randn(2, 3, 4, 5, seed=4),
        rand(2, 3, 4, seed=5),
    ]


def with_state(op, **options):
    return lambda q, k, v, s, z: tuple(op(q, k, v, state=LinearState(widened(s), widened(z)), **options))


def widened(t):
    return t.to(torch.promote_types(t.dtype, torch.float32))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", [None, "left", "right", "interior", "row"])
@pytest.mark.parametrize("length", LENGTHS)
def test_causal_equals_the_plain_form(rand, randn, padding, poison, tokens_at_once, length, kind, normalize):
    mask = padding(kind, 2, length)
    q, k, v, s, z = inputs(rand, randn, length, length)
    options = {"causal": True, "normalize": normalize, "key_mask_bs": mask}
    assert_close_derived(
        with_state(linear_attention, **options),
        with_state(naive.linear_attention, **options),
        [q, poison(k, mask, 2), poison(v, mask, 2), s, z],
        names=NAMES,
    )


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", [None, "left", "interior", "row"])
@pytest.mark.parametrize(("length", "scores_to"), [(2, 64), (37, 64), (37, 0), (65, 64)])
def test_a_beginning_equals_the_plain_form(
    rand, randn, padding, poison, monkeypatch, length, scores_to, kind, normalize
):
    monkeypatch.setattr(matmul, "SCORES_TO", scores_to)
    mask = padding(kind, 2, length)
    q, k, v, _, _ = inputs(rand, randn, length, length)
    options = {"causal": True, "normalize": normalize, "key_mask_bs": mask}

    def run(op):
        def call(q, k, v):
            y, (s, z) = op(q, k, v, **options)
            return (y, s) if z is None else (y, s, z)

        return call

    given = [q, poison(k, mask, 2), poison(v, mask, 2)]
    assert_close_derived(run(linear_attention), run(naive.linear_attention), given, names=NAMES[:3])


def test_a_state_made_of_keys_and_values_is_the_one_after_them(rand, randn, padding, poison):
    mask = padding("interior", 2, 70)
    q, k, v, _, _ = inputs(rand, randn, 70, 70)
    k, v = poison(k, mask, 2), poison(v, mask, 2)
    for normalize in (True, False):
        _, wanted = linear_attention(q, k, v, causal=True, key_mask_bs=mask, normalize=normalize)
        found = linear_state(k, v, key_mask_bs=mask, normalize=normalize)
        torch.testing.assert_close([t for t in found if t is not None], [t for t in wanted if t is not None])


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", [None, "interior", "row"])
def test_all_pairs_equals_the_plain_form(rand, randn, padding, poison, kind, normalize):
    mask = padding(kind, 2, 41)
    q, k, v, s, z = inputs(rand, randn, 70, 41)
    options = {"normalize": normalize, "key_mask_bs": mask}
    assert_close_derived(
        with_state(linear_attention, **options),
        with_state(naive.linear_attention, **options),
        [q, poison(k, mask, 2), poison(v, mask, 2), s, z],
        names=NAMES,
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(rand, randn, dtype, causal):
    assert_close_derived(
        with_state(linear_attention, causal=causal),
        with_state(naive.linear_attention, causal=causal),
        inputs(rand, randn, 150, 150),
        names=NAMES,
        dtype=dtype,
    )


@pytest.mark.parametrize("order", ["auto", "scores", "state"])
@pytest.mark.parametrize(("rows", "keys", "causal"), [(70, 41, False), (9, 3, False), (70, 70, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_dense_equals_the_plain_form(randn, padding, poison, rows, keys, causal, order, dtype):
    mask = padding("interior", 2, keys)
    options = {"causal": causal, "order": order, "key_mask_bs": mask}

    def run(op):
        return lambda q, x, s: tuple(op(q, x, state=LinearState(widened(s), None), **options))

    given = [randn(2, 3, rows, 6), poison(randn(2, 3, keys, 6, seed=1), mask, 2), randn(2, 3, 6, 6)]
    assert_close_derived(run(dense_attention), run(naive.dense_attention), given, dtype=dtype)


@pytest.mark.parametrize("cuts", [[1] * 20, [7, 13], [1, 19], [0, 20], [20]])
@pytest.mark.parametrize("normalize", [True, False])
def test_one_pass_is_chunks_is_steps(rand, randn, padding, normalize, cuts):
    q, k, v, _, _ = inputs(rand, randn, 20, 20)
    mask = padding("left", 2, 20)
    whole, end = linear_attention(q, k, v, causal=True, normalize=normalize, key_mask_bs=mask)
    state, ys = None, []
    for i, j in itertools.pairwise([0, *itertools.accumulate(cuts)]):
        y, state = linear_attention(
            q[:, :, i:j],
            k[:, :, i:j],
            v[:, :, i:j],
            causal=True,
            normalize=normalize,
            key_mask_bs=mask[:, i:j],
            state=state,
        )
        ys.append(y)
    torch.testing.assert_close(torch.cat(ys, 2), whole)
    torch.testing.assert_close(tuple(state), tuple(end))
    assert (state.z_bhm is None) == (not normalize)
    assert state.nbytes == sum(t.nbytes for t in state if t is not None)


def test_the_future_does_not_reach_the_past(rand, randn):
    q, k, v, _, _ = (t.float() for t in inputs(rand, randn, 150, 150))
    before, _ = linear_attention(q, k, v, causal=True)
    for t in (q, k, v):
        t[:, :, 70:] *= 1e4
    after, _ = linear_attention(q, k, v, causal=True)
    torch.testing.assert_close(after[:, :, :70], before[:, :, :70], rtol=0, atol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("impl", ["torch", "naive"])
def test_zero_denominators_give_zeros_and_no_gradient(rand, randn, impl, causal):
    q, k, v, _, _ = inputs(rand, randn, 80, 80)
    q[:, :, 5], k[:, :, :3] = 0, 0
    given = [t.requires_grad_() for t in (q, k, v)]
    y, _ = linear_attention(*given, causal=causal, impl=impl)
    gradients = torch.autograd.grad(y.sum(), given)
    assert not y[:, :, 5].any()
    assert not gradients[0][:, :, 5].any()
    assert all(g.isfinite().all() for g in gradients)
    assert not causal or not y[:, :, :3].any()


@pytest.mark.parametrize("causal", [False, True])
def test_small_denominators_are_kept_at_the_floor(randn, causal):
    # Denominators of both signs, many of them small: what is computed is compared here, not how it rounds.
    given = [randn(2, 3, 70, 4, seed=seed).requires_grad_() for seed in range(3)]
    (y, _), (wanted, _) = (op(*given, causal=causal, floor=0.5) for op in (linear_attention, naive.linear_attention))
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), given), torch.autograd.grad(wanted.sum(), given))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_sum_in_float32(dtype):
    one = torch.ones(1, 1, 4096, 32, dtype=dtype)
    for causal in (False, True):
        y, state = linear_attention(
            one * 8, one * 8, one, causal=causal
        )  # the key sum, 32,768, times 8 · 32 is > 65,504
        assert y.isfinite().all()
        assert state.s_bhmv.dtype == state.z_bhm.dtype == torch.float32
        torch.testing.assert_close(state.z_bhm, torch.full_like(state.z_bhm, 8 * 4096))
        _, state = dense_attention(one, one, causal=causal)
        assert state.s_bhmv.dtype == torch.float32


def test_strided_heads(rand, randn):
    def cut(t):
        return t.transpose(1, 2).contiguous().transpose(1, 2)

    q, k, v, _, _ = inputs(rand, randn, 150, 150)
    y, _ = linear_attention(cut(q), cut(k), cut(v), causal=True)
    torch.testing.assert_close(y, linear_attention(q, k, v, causal=True)[0])


def test_checkpointed_is_plain(rand, randn):
    given = [t.requires_grad_() for t in inputs(rand, randn, 150, 150)[:3]]

    def run(q, k, v):
        return linear_attention(q, k, v, causal=True)[0]

    wanted = torch.autograd.grad(run(*given).sum(), given)
    found = torch.autograd.grad(checkpoint(run, *given, use_reentrant=False).sum(), given)
    torch.testing.assert_close(found, wanted)


def test_only_inputs_are_kept_for_the_backward_pass(rand, randn):
    saved = []
    given = [t.requires_grad_() for t in inputs(rand, randn, 150, 150)[:3]]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()), lambda t: t):
        linear_attention(*given, causal=True)
    assert len(saved) == 5  # q, k, v and the first state


def test_auto_takes_the_order_with_less_work(randn):
    few, many = round(matmul.STATE_FROM * 6) - 1, round(matmul.STATE_FROM * 6) + 1
    for keys, order in ((few, "scores"), (many, "state")):
        q, x = randn(1, 1, 50, 6), randn(1, 1, keys, 6)
        torch.testing.assert_close(dense_attention(q, x)[0], dense_attention(q, x, order=order)[0], rtol=0, atol=0)


def test_wrong_arguments_are_explained(rand, randn):
    q, k, v, s, z = inputs(rand, randn, 5, 7)
    with pytest.raises(ValueError, match=r"pass the earlier keys as `state`"):
        linear_attention(q, k, v, causal=True)
    with pytest.raises(ValueError, match=r"no impl 'fast'; available: 'auto', 'torch', 'triton', 'naive'"):
        linear_attention(q, k, v, impl="fast")
    with pytest.raises(ValueError, match=r"impl 'triton' cannot run .* float32, and these are torch.float64"):
        linear_attention(q, k, v, impl="triton")
    with pytest.raises(ValueError, match=r"feature is 'gelu'; expected one of 'identity', 'elu'"):
        linear_attention(q, k, v, feature="gelu")
    with pytest.raises(ValueError, match=r"axis M"):
        linear_attention(q[..., :3], k, v)
    with pytest.raises(ValueError, match=r"expected \(B, H, M, V\) = \(2, 3, 4, 5\)"):
        linear_attention(q, k, v, state=LinearState(s[..., :4], z))
    with pytest.raises(ValueError, match=r"comes from normalize=False"):
        linear_attention(q, k, v, state=LinearState(s, None))
    with pytest.raises(ValueError, match=r"state is torch.float32; expected torch.float64"):
        linear_attention(q, k, v, state=LinearState(s.float(), z.float()))
    with pytest.raises(ValueError, match=r"'auto', 'scores' or 'state'"):
        dense_attention(q, k, order="rows")
    with pytest.raises(ValueError, match=r"no impl 'fast'"):
        dense_attention(q, k, order="scores", impl="fast")
