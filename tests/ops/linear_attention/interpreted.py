"""Run the cases of linear attention by Triton's interpreter, on a CPU, and print what was wrong with each as JSON.

In a process of its own, because the interpreter is chosen when kernels are first imported: `python interpreted.py all`,
`… often`, without those that repeat what others show with another length, dtype or option, or with names of checks.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from triton.runtime import interpreter

from formers.ops import dense_attention, exp_features, fourier_features, largest_exponents, linear_attention
from formers.ops.linear_attention import triton_form, triton_ops
from formers.testing.linear_cases import CASES


def count_with_new_numpy() -> None:
    """Let the interpreter count loops: it makes a number of an array of one, which NumPy 2.4 refuses."""
    patched = interpreter._patch_lang_tensor

    def patch(tensor, scope):
        patched(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patch


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()


def small(impl: str, q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None) -> Tensor:
    y, (s, z) = linear_attention(q, k, v, causal=True, feature="elu", log_decay_bhl=g, impl=impl)
    return y.sum() + s.sin().sum() + z.sin().sum()


def dense_is_linear() -> None:
    q, x = (drawn(1, 2, 70, 6, seed=seed).detach().div(5).requires_grad_() for seed in range(2))
    for causal in (True, False):
        found, state = dense_attention(q, x, causal=causal, impl="triton")
        wanted, end = dense_attention(q, x, causal=causal, impl="naive")
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(state.s_bhmv, end.s_bhmv)
        gradients = [torch.autograd.grad(y.sin().sum(), (q, x)) for y in (found, wanted)]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def second_derivatives() -> None:
    given = [drawn(1, 1, 20, 3, seed=seed) for seed in range(3)]
    found, wanted = (
        torch.autograd.grad(sum(g.square().sum() for g in first), given)
        for first in (
            torch.autograd.grad(small(impl, *given), given, create_graph=True) for impl in ("triton", "naive")
        )
    )
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def one_pass_is_pieces() -> None:
    q, k, v = (drawn(2, 1, 90, 5, seed=seed, dtype=torch.float16) for seed in range(3))
    options = {"causal": True, "feature": "elu", "impl": "triton"}
    with torch.no_grad():
        whole, end = linear_attention(q, k, v, **options)
        state, ys = None, []
        for piece in ((0, 70), (70, 71), (71, 90)):
            y, state = linear_attention(*(t[:, :, slice(*piece)] for t in (q, k, v)), state=state, **options)
            ys.append(y)
    torch.testing.assert_close(torch.cat(ys, 2), whole, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(tuple(state or ()), tuple(end), rtol=2e-3, atol=2e-3)


def strided_heads_and_one_decay_for_all_tokens() -> None:
    q, k, v = (drawn(2, 70, 2, 4, seed=seed).transpose(1, 2) for seed in range(3))
    g = torch.tensor([-0.1, -0.5])[None, :, None].expand(2, 2, 70)
    found, wanted = (linear_attention(q, k, v, causal=True, log_decay_bhl=g, feature="elu", impl=i)[0] for i in TWO)
    torch.testing.assert_close(found, wanted)
    assert found.transpose(1, 2).is_contiguous()  # so that joining heads copies nothing


def compiles_without_a_break() -> None:
    given = [drawn(1, 1, 70, 4, seed=seed) for seed in range(3)]
    run = torch.compile(lambda *t: small("triton", *t, -t[0][..., 0].abs()), fullgraph=True, backend="aot_eager")
    found, wanted = run(*given), small("naive", *given, -given[0][..., 0].abs())
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, given), torch.autograd.grad(wanted, given))


def ops_know_their_sizes() -> None:
    q, k, v, g = (drawn(1, 1, 70, 5, seed=seed).detach() for seed in range(4))
    for log_g, causal in ((None, True), (g[..., 0].abs().neg(), True), (None, False)):
        arguments = (q, k, v, None, None, log_g, None, causal, log_g is None, 1e-18, "elu")
        found = triton_ops.forward(*arguments)
        given = (*arguments[:7], *found, *found[:3], *arguments[7:])
        for run, op, taken in (
            (triton_ops.forward, torch.ops.formers_triton.linear_forward, arguments),
            (triton_ops.backward, torch.ops.formers_triton.linear_backward, given),
        ):
            with FakeTensorMode() as mode:
                sizes = op(*(mode.from_tensor(t) if isinstance(t, Tensor) else t for t in taken))
            real = run(*taken)
            assert [(t.shape, t.stride(), t.dtype) for t in sizes] == [(t.shape, t.stride(), t.dtype) for t in real]


def small_denominators_are_kept_at_the_floor() -> None:
    for causal in (True, False):
        given = [drawn(1, 1, 40, 4, seed=seed) for seed in range(3)]
        found, wanted = (linear_attention(*given, causal=causal, floor=0.5, impl=impl)[0] for impl in TWO)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
        gradients = [torch.autograd.grad(y.sum(), given) for y in (found, wanted)]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def zero_denominators_give_zeros_and_no_gradient() -> None:
    q, k, v = (drawn(1, 1, 80, 4, seed=seed).detach().abs() for seed in range(3))
    q[:, :, 5], k[:, :, :3] = 0, 0
    given = [t.requires_grad_() for t in (q, k, v)]
    y, _ = linear_attention(*given, causal=True, impl="triton")
    gradients = torch.autograd.grad(y.sum(), given)
    assert not y[:, :, 5].any()
    assert not y[:, :, :3].any()
    assert not gradients[0][:, :, 5].any()
    assert all(g.isfinite().all() for g in gradients)


def refusals_have_reasons() -> None:
    wide = triton_form.LinearInputs(*(torch.zeros(1, 1, 4, 600),) * 3, True, None, None, True, 1e-18, None, "elu")
    assert "up to 512 features" in triton_form.unsupported_reasons(wide)[0]
    exact = wide._replace(log_decay_bhl=torch.zeros(1, 1, 4))
    assert "float32 with a decay" in triton_form.unsupported_reasons(exact)[0]
    none = wide._replace(**dict.fromkeys(("q_bhlm", "k_bhsm", "v_bhsv"), torch.zeros(1, 1, 0, 4)))
    assert triton_form.unsupported_reasons(none) == ["there is nothing to compute"]
    assert "tensor cores" in triton_form.slow_reasons(wide)[0]


def the_future_does_not_reach_the_past() -> None:
    q, k, v = (drawn(1, 1, 150, 4, seed=seed).detach() for seed in range(3))
    before, _ = linear_attention(q, k, v, causal=True, feature="elu", impl="triton")
    for t in (q, k, v):
        t[:, :, 70:] *= 1e3
    after, _ = linear_attention(q, k, v, causal=True, feature="elu", impl="triton")
    assert torch.equal(before[:, :, :70], after[:, :, :70])


def large_numbers_stay_finite_in_float16() -> None:
    q, k, v = (drawn(1, 1, 200, 8, seed=seed, dtype=torch.float16) for seed in range(3))
    for feature in ("exp", "squared_relu"):
        large = [(6 * t).detach().requires_grad_() for t in (q, k, v)]
        y, (s, _) = linear_attention(*large, causal=True, feature=feature, impl="triton")
        assert y.isfinite().all()
        assert s.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(y.float().mean(), large))


def exponential_features() -> None:
    x, w, shift = drawn(2, 3, 50, 24), drawn(70, 24, seed=1).detach() / 5, drawn(2, 3, 50, seed=2)
    outside = drawn(2, 50, 3, 24).transpose(1, 2)  # heads side by side
    for t, c, dtype in ((x, None, torch.float32), (x, shift, torch.float32), (outside, shift, torch.float16)):
        given = [t] if c is None else [t, c]
        found, wanted = (exp_features(t, w, c, dtype=dtype, impl=impl) for impl in TWO)
        tolerance = 1e-5 if dtype == torch.float32 else 3e-3
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
        weight = wanted.detach().float().cos()
        gradients = [torch.autograd.grad((y.float() * weight).sum(), given) for y in (found, wanted)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))
    largest = [largest_exponents(x, w, impl=impl) for impl in TWO]
    torch.testing.assert_close(*largest)


def second_derivatives_of_features() -> None:
    x, w = drawn(1, 1, 6, 4), drawn(5, 4, seed=1).detach()
    second = []
    for impl in TWO:
        (first,) = torch.autograd.grad(exp_features(x, w, x[..., 0], impl=impl).sin().sum(), x, create_graph=True)
        second.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(*second, rtol=1e-3, atol=1e-3)


def gradients_come_in_batches() -> None:
    linear, features = [drawn(1, 1, 20, 3, seed=seed) for seed in range(3)], [drawn(1, 1, 6, 4)]
    w = drawn(5, 4, seed=1).detach()
    for given, run in (
        (linear, lambda q, k, v: linear_attention(q, k, v, causal=True, feature="elu", impl="triton")[0]),
        (features, lambda x: exp_features(x, w, x[..., 0], impl="triton")),
        (features, lambda x: fourier_features(x, w, impl="triton")),
    ):
        y = run(*given)
        several = drawn(2, *y.shape, seed=3).detach()
        found = torch.autograd.grad(y, given, several, is_grads_batched=True, retain_graph=True)
        singly = [torch.autograd.grad(y, given, gradient, retain_graph=True) for gradient in several]
        torch.testing.assert_close(found, tuple(map(torch.stack, zip(*singly, strict=True))), rtol=1e-3, atol=1e-4)


def fourier_features_of_rows() -> None:
    w = drawn(70, 24, seed=1).detach()
    rows, outside = drawn(2, 3, 50, 24), drawn(2, 50, 3, 24).transpose(1, 2)  # heads side by side
    for x, dtype in ((rows, torch.float32), (outside, torch.float32), (outside.half(), torch.float16)):
        x = x.detach().requires_grad_()
        found, wanted = (fourier_features(x, w, dtype=dtype, impl=impl) for impl in TWO)
        tolerance = 2e-6 if dtype == torch.float32 else 3e-4
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
        weight = wanted.detach().float().cos()
        gradients = [torch.autograd.grad((y.float() * weight).sum(), x)[0] for y in (found, wanted)]
        torch.testing.assert_close(*gradients, rtol=4 * tolerance, atol=4 * tolerance * float(gradients[1].abs().max()))
    first, again = (
        torch.autograd.grad(fourier_features(rows, w[:5], impl=i).sin().sum(), rows, create_graph=True)[0] for i in TWO
    )
    torch.testing.assert_close(*(torch.autograd.grad(g.square().sum(), rows)[0] for g in (first, again)))


TWO = ("triton", "naive")
OTHERS: list[Callable[[], None]] = [
    dense_is_linear,
    second_derivatives,
    one_pass_is_pieces,
    strided_heads_and_one_decay_for_all_tokens,
    compiles_without_a_break,
    ops_know_their_sizes,
    small_denominators_are_kept_at_the_floor,
    zero_denominators_give_zeros_and_no_gradient,
    refusals_have_reasons,
    the_future_does_not_reach_the_past,
    large_numbers_stay_finite_in_float16,
    exponential_features,
    second_derivatives_of_features,
    gradients_come_in_batches,
    fourier_features_of_rows,
]
SELDOM = {
    "segments of two chunks that decay",
    "strong decay, float16",
    "segments of two chunks, float16",
    "segments of two chunks, not normalised",
    "three chunks, float16",
    "three chunks, not normalised",
    "all or nothing, not normalised",
    "a chunk",
    "a token, float16",
    "all pairs, squared relu, float16",
    "values wider than a block",
    "dense_is_linear",
    "compiles_without_a_break",
    "large_numbers_stay_finite_in_float16",
}
"""What takes half of the time, and runs with the slow tests and on a GPU."""
HALF = ("a token", "three chunks", "segments of two chunks", "strong decay", "all pairs, squared relu")


def checks() -> dict[str, Callable[[], None]]:
    """Every check by its name."""
    found: dict[str, Callable[[], None]] = {
        name: lambda c=case: c.check("triton", torch.float32) for name, case in CASES.items()
    }
    found |= {f"{name}, float16": lambda n=name: CASES[n].check("triton", torch.float16) for name in HALF}
    return found | {check.__name__: check for check in OTHERS}


def main() -> None:
    count_with_new_numpy()
    wrong, seconds = {}, {}
    for name, check in checks().items():
        if not ({"all", name} & {*sys.argv} or ("often" in sys.argv and name not in SELDOM)):
            continue
        start = time.process_time()
        try:
            check()
            wrong[name] = ""
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"
        seconds[name] = round(time.process_time() - start, 2)
    print(json.dumps({"wrong": wrong, "seconds": seconds}))


if __name__ == "__main__":
    main()
