"""A linear mixer whose kernel is known in closed form: through scores for few tokens, through features for many."""

import pytest
import torch

from formers.mixers import (
    Favor,
    FeatureMap,
    Linear,
    RandomFourier,
    Rfa,
    SquaredRelu,
    Taylor2,
    linear_mixer,
)
from formers.mixers.linear_mixer import LinearMixerState, LinearPrefixState
from formers.part import Site
from formers.positions import Rotary
from formers.testing import SITE
from formers.testing.laws import exports_with_any_length

WIDTH, HEADS = 12, 3  # 4 numbers a head, and so 15 features
MASK = torch.tensor([[1] * 13, [0] * 4 + [1] * 9]).bool()


def mixers(causal: bool, normalize: bool = True):
    """The same mixer twice: as it is, and one that always makes features."""
    site = Site(width=WIDTH, heads=HEADS, causal=causal, context_length=64)
    own, features = (Linear(feature=Taylor2(), normalize=normalize).build(site).double() for _ in range(2))
    features.load_state_dict(own.state_dict())
    features.kernel = None
    return own, features


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "padded"])
def test_scores_equal_features(causal, normalize, mask):
    own, features = mixers(causal, normalize)
    x = torch.randn(2, 13, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 13, WIDTH, dtype=torch.float64)
    y, wanted = (mixer(x, mask_bl=mask)[0] for mixer in (own, features))
    torch.testing.assert_close(y, wanted)
    gradients = [
        torch.autograd.grad((out * weight).sum(), [x, *mixer.parameters()])
        for out, mixer in ((y, own), (wanted, features))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("mask", [None, MASK], ids=["", "padded"])
def test_a_beginning_goes_on_as_sums(mask):
    own, features = mixers(True)
    x, later = torch.randn(2, 13, WIDTH, dtype=torch.float64), torch.randn(2, 5, WIDTH, dtype=torch.float64)
    start, sums = (mixer(x, mask_bl=mask)[1] for mixer in (own, features))
    assert isinstance(start, LinearPrefixState)
    assert isinstance(sums, LinearMixerState)
    assert start.nbytes < 2 * sums.nbytes
    torch.testing.assert_close(start.seen_b, sums.seen_b)
    for change in (lambda state: state, lambda state: state.reorder(torch.tensor([1, 0]))):
        (y, after), (wanted, after_sums) = own(later, change(start)), features(later, change(sums))
        torch.testing.assert_close(y, wanted)
        torch.testing.assert_close(after.sums.s_bhmv, after_sums.sums.s_bhmv)


def test_as_many_tokens_as_features_are_summed_at_once():
    own, _ = mixers(True)
    states = {length: own(torch.randn(1, length, WIDTH, dtype=torch.float64))[1] for length in (14, 15)}
    assert [type(state) for state in states.values()] == [LinearPrefixState, LinearMixerState]


@pytest.mark.parametrize("mask", [None, MASK.repeat(1, 3)], ids=["", "padded"])
def test_scores_of_more_tokens_than_features_leave_sums(monkeypatch, mask):
    """Where scores are less work up to more tokens, as on a GPU: what is kept after them is no larger for it."""
    monkeypatch.setattr(linear_mixer, "kernel_attention_reach", lambda *qkv, **options: 100)
    own, features = mixers(True)
    x, later = torch.randn(2, 39, WIDTH, dtype=torch.float64), torch.randn(2, 5, WIDTH, dtype=torch.float64)
    (y, state), (wanted, sums) = (mixer.eval()(x, mask_bl=mask) for mixer in (own, features))
    torch.testing.assert_close(y, wanted)
    assert state.nbytes == sums.nbytes
    torch.testing.assert_close(state.sums, sums.sums)
    torch.testing.assert_close(own(later, state)[0], features(later, sums)[0])


@pytest.mark.parametrize("feature", ["elu", "favor(features=8)", "taylor2"])
@pytest.mark.parametrize("causal", [True, False])
def test_turned_features_know_differences_alone(feature, causal):
    """Turning what enters φ, outputs change when all positions are shifted; turning φ, they do not."""
    site = Site(width=9, heads=3, causal=causal, position=Rotary()) if feature == "taylor2" else SITE_OF[causal]
    x = torch.randn(2, 40, site.width, dtype=torch.float64)
    near = torch.arange(40)[None]
    moved = {}
    for turned in ("inputs", "features"):
        if feature == "taylor2" and turned == "inputs":
            continue  # K = 3 has no pairs, its 10 features have
        torch.manual_seed(0)
        module = Linear.parse(f"linear(feature={feature}, turned={turned})").build(site).double().eval()
        moved[turned] = (module(x, positions_bl=near + 50)[0] - module(x, positions_bl=near)[0]).abs().max().item()
    assert moved["features"] < 1e-9 < 1e-3 < moved.get("inputs", 1)


SITE_OF = {causal: Site(width=24, heads=3, causal=causal, position=Rotary()) for causal in (True, False)}


def test_turned_features_of_one_token_are_its_value():
    """A token sees itself at distance 0, where turning both sides changes nothing."""
    module = Linear(turned="features").build(SITE_OF[True])
    x = torch.randn(1, 1, 24)
    torch.testing.assert_close(module(x, positions_bl=torch.tensor([[90]]))[0], module.o_proj(module.v_proj(x)))


def test_features_in_odd_numbers_are_not_turned():
    with pytest.raises(ValueError, match="45 wide"):
        Linear(feature=Taylor2(), turned="features").build(SITE_OF[True])


@pytest.mark.parametrize("feature", [SquaredRelu(), Taylor2(), RandomFourier()], ids=str)
def test_any_length_is_exported_with_features_of_every_kind(feature: FeatureMap) -> None:
    exports_with_any_length(Linear(feature=feature, normalize=False), SITE)


@pytest.mark.parametrize(
    "part",
    [
        Rfa(gate=True),
        pytest.param(Linear(feature=Favor(kind="hyperbolic"), turned="features"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_sums_that_decay_are_exported_with_any_length(part: Linear | Rfa) -> None:
    exports_with_any_length(part, SITE)
