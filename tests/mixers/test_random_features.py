"""Random features approximate what they say, the way the papers report, and their draws behave."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from formers.mixers import ArcCosine, Favor, Linear, Mixer, Performer, RandomFourier, Rfa
from formers.mixers.random_projections import draw
from formers.part import Site, Unsupported
from formers.testing import CORE_LAWS, SITE, WIDE, check

K, LENGTH = 16, 64


def kernel_error(part: Favor, scale: float = 0.5, draws: int = 200) -> float:
    """The mean square error of φ(q)·φ(k) relative to exp(q·k/√K), over several draws."""
    torch.manual_seed(0)
    q, k = scale * torch.randn(2, 1, 1, LENGTH, K).double()
    want = (q @ k.mT / K**0.5).exp()
    errors = []
    for seed in range(draws):
        torch.manual_seed(seed)
        feature = part.build(K).double().eval()
        errors.append(float((feature(q) @ feature(k).mT / want - 1).square().mean()))
    return sum(errors) / draws


def attention_error(part: Favor, scale: float) -> float:
    """The same for attention weights, which a normaliser makes of them."""
    torch.manual_seed(0)
    q, k = scale * torch.randn(2, 1, 1, LENGTH, K).double()
    feature = part.build(K).double().eval()
    weights = feature(q, query=True) @ feature(k).mT
    want = (q @ k.mT / K**0.5).softmax(-1)
    return float((weights / weights.sum(-1, keepdim=True) - want).square().mean())


@pytest.mark.parametrize("kind", ["positive", "hyperbolic", "trigonometric"])
def test_error_falls_with_the_number_of_features(kind):
    few, some, many = (kernel_error(Favor(features=m, kind=kind)) for m in (16, 128, 1024))
    assert many < some / 4 < few / 16


@pytest.mark.parametrize("kind", ["positive", "trigonometric"])
def test_orthogonal_directions_err_less(kind):
    orthogonal, independent = (kernel_error(Favor(features=32, kind=kind, orthogonal=o)) for o in (True, False))
    assert orthogonal < independent


def test_positive_features_err_less_where_softmax_is_sharp():
    positive, waves = (attention_error(Favor(features=256, kind=kind), 1.6) for kind in ("positive", "trigonometric"))
    assert positive < waves / 2


def test_hyperbolic_features_err_less_than_positive_ones():
    errors = [kernel_error(Favor(features=64, kind=kind, orthogonal=False), 0.3) for kind in ("hyperbolic", "positive")]
    assert errors[0] < errors[1]


def test_random_fourier_is_the_gaussian_kernel():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 9, K)
    unit = torch.nn.functional.normalize(x, dim=-1)
    phi = RandomFourier(features=1 << 16, sigma=0.8).build(K).eval()(x)
    torch.testing.assert_close(phi @ phi.mT, ((unit @ unit.mT - 1) / 0.8**2).exp(), atol=0.02, rtol=0)


def test_arc_cosine_is_its_kernel():
    torch.manual_seed(0)
    x = torch.randn(1, 1, 9, K)
    unit = torch.nn.functional.normalize(x, dim=-1)
    angle = (unit @ unit.mT).clamp(-1, 1).acos()
    phi = ArcCosine(features=1 << 16).build(K).eval()(x)
    torch.testing.assert_close(
        phi @ phi.mT, (angle.sin() + (torch.pi - angle) * angle.cos()) / torch.pi, atol=0.03, rtol=0
    )


def test_orthogonal_directions_have_gaussian_lengths():
    torch.manual_seed(0)
    w = draw(3 * K, K, orthogonal=True)
    for block in w.split(K):
        products = block @ block.mT
        torch.testing.assert_close(products, products.diagonal().diag(), atol=1e-4, rtol=0)
    lengths = torch.cat([draw(K, K, orthogonal=True).norm(dim=1) for _ in range(200)])
    assert abs(float(lengths.square().mean()) / K - 1) < 0.05
    assert float(lengths.std()) > 0.5


def train_step(module: torch.nn.Module, x: torch.Tensor, passes: int = 1, checkpointed: bool = False) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(passes):
        y = checkpoint(module, x.clone().requires_grad_(), use_reentrant=False) if checkpointed else module(x)
        y[0].sum().backward()
    optimiser.step()


def test_directions_are_redrawn_after_so_many_training_steps_and_never_in_eval():
    torch.manual_seed(0)
    module, x = Performer(redraw=2).build(Site(width=16, heads=2, causal=True)), torch.randn(1, 5, 16)
    drawn = module.feature.directions.w_mk
    seen = [drawn.clone()]
    for _ in range(5):
        train_step(module.train(), x)
        seen.append(drawn.clone())
    changed = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert changed == [False, False, True, False, True]
    before = drawn.clone()
    for _ in range(5):
        train_step(module.eval(), x)
    assert torch.equal(drawn, before)


@pytest.mark.parametrize("how", [{"passes": 3}, {"checkpointed": True}], ids=["accumulated", "checkpointed"])
@pytest.mark.parametrize("part", [Performer(redraw=2), Rfa(redraw=2)], ids=str)
def test_steps_are_counted_and_not_the_passes_that_make_them(part: Mixer, how: dict[str, Any]) -> None:
    module, x = part.build(Site(width=16, heads=2, causal=True)).train(), torch.randn(1, 5, 16)
    directions = module.feature.directions
    for left in (1, 0, 1, 0):
        train_step(module, x, **how)
        assert int(directions.left) == left
        module.eval()(x)
        module(x)[0].sum().backward()
        other = torch.nn.Parameter(torch.ones(()))
        torch.optim.SGD([other], lr=0.1).step()  # nothing of what was evaluated counts
        module.train()
        assert int(directions.left) == left


def test_what_a_copy_loads_counts() -> None:
    module = Performer(redraw=30).build(Site(width=16, heads=2, causal=True)).train()
    saved = {**module.state_dict(), "feature.directions.left": torch.tensor(2)}
    copied = copy.deepcopy(module)
    copied.load_state_dict(saved)
    assert copied.feature.directions._steps_left() == 2


def test_directions_may_be_made_for_inference() -> None:
    with torch.inference_mode():
        module = Performer(redraw=30).build(Site(width=16, heads=2, causal=True))
        assert module(torch.randn(1, 5, 16))[0].isfinite().all()


def test_one_forward_pass_of_a_step_draws() -> None:
    module, x = Performer(redraw=1).build(Site(width=16, heads=2, causal=True)).train(), torch.randn(1, 5, 16)
    drawn = module.feature.directions.w_mk
    train_step(module, x)
    module(x)[0].sum().backward()
    first = drawn.clone()
    module(x)[0].sum().backward()
    assert torch.equal(drawn, first), "the second pass of an accumulated step sees other directions"


def test_a_resumed_run_redraws_when_the_first_would_have():
    torch.manual_seed(0)
    x, site = torch.randn(1, 5, 16), Site(width=16, heads=2, causal=True)
    first = Performer(redraw=3).build(site).train()
    train_step(first, x)
    second = Performer(redraw=3).build(site).train()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for module in (first, second):
        torch.manual_seed(1)
        for _ in range(3):
            train_step(module, x)
    assert torch.equal(first.feature.directions.w_mk, second.feature.directions.w_mk)


def test_performer_is_linear_attention_with_favor():
    site, x = Site(width=16, heads=2, causal=True), torch.randn(2, 9, 16)
    part = Performer(features=12, kind="hyperbolic", orthogonal=False, redraw=None)
    named, spelt = part.build(site), Linear(feature=Favor(**part_options(part))).build(site)
    spelt.load_state_dict(named.state_dict())
    assert torch.equal(named(x)[0], spelt(x)[0])


def part_options(part: Performer) -> dict:
    return {name: getattr(part, name) for name in ("features", "kind", "orthogonal", "redraw")}


def test_long_keys_and_queries_stay_finite():
    for kind in ("positive", "hyperbolic", "trigonometric", "relu"):
        module = Performer(kind=kind).build(Site(width=256, heads=1, causal=True))
        x = (1e3 * torch.randn(1, 70, 256)).requires_grad_()
        y, _ = module(x)
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()


def test_what_cannot_be_says_so():
    with pytest.raises(Unsupported, match="normalize"):
        Linear(feature=Favor(), normalize=False)
    with pytest.raises(ValueError, match="even"):
        Performer(features=7, kind="hyperbolic")
    with pytest.raises(ValueError, match="sigma"):
        Rfa(kernel="arccos", sigma=2.0)
    for sigma in (0.0, -1.0, 1e-300, 1e300):
        with pytest.raises(ValueError, match="sigma must be positive, from 1e-18 to 1e\\+18"):
            Rfa(sigma=sigma)
    with pytest.raises(Unsupported, match="bidirectional"):
        Rfa(gate=True).build(Site(width=16, heads=2, causal=False))


VARIANTS = [
    Performer(kind="hyperbolic"),
    Performer(kind="trigonometric"),
    Performer(kind="relu", orthogonal=False),
    Rfa(kernel="arccos"),
    Rfa(gate=True),
]


@pytest.mark.parametrize("site", [SITE, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_variants_keep_the_core_laws(part: Mixer, site: Site) -> None:
    check(part, site=site, only=CORE_LAWS)


@pytest.mark.slow
@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_variants_keep_the_laws(part: Mixer) -> None:
    check(part)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_regularised_directions_have_one_length(orthogonal):
    directions = Favor(features=40, orthogonal=orthogonal, regularize=True).build(K).directions.w_mk
    torch.testing.assert_close(directions.norm(dim=1), torch.full((40,), K**0.5))
    if orthogonal:
        torch.testing.assert_close(directions[:K] @ directions[:K].mT, K * torch.eye(K), atol=1e-4, rtol=0)
    assert Performer(regularize=True).linear() == Linear(feature=Favor(regularize=True))


def test_the_regularised_kernel_is_below_softmax():
    """Its directions are never longer than √K: far products, which need long ones, come out smaller."""
    torch.manual_seed(0)
    q = 2 * torch.randn(1, 1, LENGTH, K).double()
    exact = (q.square().sum(-1) / K**0.5).exp()
    sums = torch.zeros(2, *exact.shape).double()
    for seed in range(20):
        for i, regularize in enumerate((False, True)):
            torch.manual_seed(seed)
            phi = Favor(features=2048, regularize=regularize).build(K).double().eval()(q)
            sums[i] += phi.square().sum(-1) / 20
    assert (sums[1] < exact).all()
    assert (sums[1] / exact).mean() < (sums[0] / exact).mean()


@pytest.mark.parametrize(("width", "count"), [(1, 2), (5, 4), (16, 32), (32, 96), (64, 256), (128, 512)])
def test_as_many_features_as_whole_blocks_of_directions(width: int, count: int) -> None:
    assert Favor().count(width) == count
    for kind in ("positive", "hyperbolic", "trigonometric"):
        x = torch.randn(1, 1, 3, width)
        assert Favor(kind=kind).build(width)(x).shape == (1, 1, 3, count)
