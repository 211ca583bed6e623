from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from formers.mixers import Elu, Hedgehog, Mixer, Sparse, WindowedLinear
from formers.mixers.windowed_linear_mixer import WindowedLinearMixer
from formers.part import Site, Unsupported
from formers.patterns import Sinks, Window
from formers.positions import Rotary
from formers.testing import CORE_LAWS, check, laws
from formers.testing import SITE as LAW_SITE
from formers.testing.tolerance import assert_close_derived

WIDTH, HEADS = 12, 2
SITE = Site(width=WIDTH, heads=HEADS, causal=True, context_length=512)


def built(part: Mixer) -> Any:
    torch.manual_seed(0)
    module: Any = part.build(SITE)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module


def plain(q: Tensor, k: Tensor, v: Tensor, log_gain_h: Tensor, window: int, sinks: int) -> Tensor:
    """Return y of all queries by the formula, with the features elu + 1."""
    i = torch.arange(q.shape[2])
    seen = i <= i[:, None]
    near = seen & ((i[:, None] - i < window) | (i < sinks))
    scores = (q @ k.mT / math.sqrt(q.shape[3])).masked_fill(~near, -torch.inf)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    phi_q, phi_k = (torch.nn.functional.elu(t) + 1 for t in (q, k))
    weights = weights + (log_gain_h.exp()[:, None, None] * (phi_q @ phi_k.mT)) * (seen & ~near)
    return weights @ v / weights.sum(-1, keepdim=True)


@pytest.fixture(params=[False, True], ids=["in pieces", "at once"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go through a sequence in pieces, or take it at once, as on a GPU."""
    monkeypatch.setattr(WindowedLinearMixer, "takes_all_at_once", lambda self, q_bhlk: request.param)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("window", "sinks", "length"), [(1, 0, 9), (4, 0, 13), (4, 2, 13), (7, 3, 5), (5, 2, 140), (40, 1, 30)]
)
def test_the_formula_and_its_gradients(window: int, sinks: int, length: int) -> None:
    module = built(WindowedLinear(window=window, sinks=sinks, feature=Elu()))
    x, gain = torch.randn(2, length, WIDTH), torch.randn(HEADS)

    def fast(x: Tensor, gain: Tensor) -> Tensor:
        return torch.func.functional_call(module, {"log_gain_h": gain.to(x.dtype), **_in(module, x.dtype)}, (x,))[0]

    def by_formula(x: Tensor, gain: Tensor) -> Tensor:
        weights = _in(module, x.dtype)
        q, k, v = ((x @ weights[f"{n}_proj.weight"].mT).unflatten(-1, (HEADS, -1)).transpose(1, 2) for n in "qkv")
        y = plain(q, k, v, gain.to(x.dtype), window, sinks)
        return y.transpose(1, 2).flatten(2) @ weights["o_proj.weight"].mT

    assert_close_derived(fast, by_formula, [x, gain])


@pytest.mark.parametrize("part", [WindowedLinear(), WindowedLinear(window=5, sinks=0, kv_heads=1)], ids=str)
def test_a_sequence_at_once_keeps_the_laws_on_numbers(part: Mixer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WindowedLinearMixer, "takes_all_at_once", lambda self, q_bhlk: True)
    more = {laws.finite_in_half, laws.gradients_flow_through_states, laws.rows_are_independent}
    check(part, site=replace(LAW_SITE, position=Rotary(), width=48, heads=4), only=CORE_LAWS | more)


def test_at_once_and_in_pieces_give_the_same_state(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = built(WindowedLinear(window=5, sinks=2, kv_heads=1)).double(), torch.randn(2, 150, WIDTH).double()
    mask_bl = torch.ones(2, 150, dtype=torch.bool)
    mask_bl[0, :20], mask_bl[1, 70:90] = False, False
    y, state = module(x, mask_bl=mask_bl)
    monkeypatch.setattr(WindowedLinearMixer, "takes_all_at_once", lambda self, q_bhlk: True)
    y_at_once, state_at_once = module(x, mask_bl=mask_bl)
    torch.testing.assert_close(y_at_once[mask_bl], y[mask_bl])
    for got, want in zip(state_at_once.tensors(), state.tensors(), strict=True):
        torch.testing.assert_close(got, want)


def _in(module: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: p.detach().to(dtype) for name, p in module.named_parameters() if name != "log_gain_h"}


def test_a_tiny_gain_leaves_window_and_sinks() -> None:
    module = built(WindowedLinear(window=4, sinks=2))
    torch.nn.init.constant_(module.log_gain_h, -40)
    sparse = built(Sparse(pattern=Window(4) | Sinks(2)))
    sparse.load_state_dict({k: v for k, v in module.state_dict().items() if k in sparse.state_dict()})
    x = torch.randn(2, 30, WIDTH)
    torch.testing.assert_close(module(x)[0], sparse(x)[0])


def test_shared_heads_are_those_of_copies() -> None:
    shared, own = built(WindowedLinear(window=4, kv_heads=1)), built(WindowedLinear(window=4))
    weights = shared.state_dict()
    for name in ("k_proj.weight", "v_proj.weight"):
        weights[name] = weights[name].repeat(HEADS, 1)
    own.load_state_dict(weights)
    x = torch.randn(2, 30, WIDTH)
    torch.testing.assert_close(shared(x)[0], own(x)[0])


@pytest.mark.parametrize("pieces", [[1] * 9, [3, 200, 1, 1, 7], [140, 64]])
def test_pieces_are_the_whole(pieces: list[int]) -> None:
    module = built(WindowedLinear(window=5, sinks=2, feature=Hedgehog()))
    x = torch.randn(2, sum(pieces), WIDTH)
    ys, state = [], None
    for piece in x.split(pieces, 1):
        y, state = module(piece, state)
        ys.append(y)
    torch.testing.assert_close(torch.cat(ys, 1), module(x)[0])


def test_the_state_has_one_size() -> None:
    module = built(WindowedLinear(window=5, sinks=2))
    assert len({module(torch.randn(1, length, WIDTH))[1].nbytes for length in (1, 8, 300)}) == 1


def test_features_up_to_a_factor_are_refused() -> None:
    with pytest.raises(Unsupported, match="weigh far tokens"):
        WindowedLinear(feature=Mixer.parse("linear(feature=favor)").feature)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="gain must be above 0"):
        WindowedLinear(gain=0)


def test_both_directions_have_other_parts() -> None:
    with pytest.raises(Unsupported, match="longformer"):
        WindowedLinear().build(Site(width=WIDTH, heads=HEADS, causal=False, context_length=64))
