"""Some rows of a batch, and the state of all: equal to the whole batch, whatever else the mixer saves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from formers.ffn import Mlp
from formers.mixers import Linear, Lsh, Metric, Mixer, Quadratic, Softmax
from formers.norms import LayerNorm
from formers.part import Site, State, Unsupported
from formers.positions import Alibi, NoPosition, Position, Rotary, Xl
from formers.residuals import Gated, PostNorm, PreNorm, Residual, Reversible

BATCH, WIDTH, HEADS = 4, 24, 3
"""Sizes that differ from each other and from lengths."""

CASES = [
    (Softmax(kv_heads=1), Rotary()),
    (Softmax(), Alibi()),
    (Softmax(), Xl()),
    (Metric(), Rotary()),
    (Metric(), NoPosition()),
    (Quadratic(), Alibi()),
    (Linear(), Rotary()),
]
"""Mixers with a KV cache in all its forms, and one without."""


def site(position: Position) -> Site:
    return Site(width=WIDTH, heads=HEADS, causal=True, position=position)


def tensors(state: State) -> list[Tensor]:
    found: list[Tensor] = []
    state.map(lambda t: found.append(t) or t)
    return found


@pytest.mark.parametrize("rows", [[], [2], [3, 0]], ids=str)
@pytest.mark.parametrize(("mixer", "position"), CASES, ids=str)
def test_some_rows_are_those_of_the_whole_batch(mixer: Mixer, position: Position, rows: list[int]) -> None:
    torch.manual_seed(0)
    module = mixer.build(site(position)).double()
    first, then = torch.randn(2, BATCH, 5, WIDTH, dtype=torch.float64)
    mask_bl = torch.ones(BATCH, 5, dtype=torch.bool)
    mask_bl[1, :2] = mask_bl[2, :4] = False
    _, state = module(first, mask_bl=mask_bl)
    y, after = module(then[:, :2], state)
    some, after_some = module.some_rows(then[:, :2], state, torch.tensor(rows, dtype=torch.long))
    torch.testing.assert_close(some, y[rows])
    for expected, found in zip(tensors(after), tensors(after_some), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("wiring", [PreNorm(), PostNorm(), Gated(), Reversible()], ids=str)
def test_some_rows_of_a_layer(wiring: Residual) -> None:
    torch.manual_seed(0)
    at = site(Rotary())
    layer = wiring.build(at, Softmax().build(at), Mlp().build(at), LayerNorm()).double()
    x = wiring.enter(torch.randn(BATCH, 3, WIDTH, dtype=torch.float64))
    rows = torch.tensor([3, 1])
    y, state = layer(x)
    some, after = layer.some_rows(x, None, rows)
    torch.testing.assert_close(some, y[rows])
    torch.testing.assert_close(tensors(after), tensors(state))


def test_halted_rows_cost_their_keys_and_values_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Softmax().build(site(Rotary()))
    rows_of: dict[str, int] = {}
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        projection = getattr(module, name)
        assert isinstance(projection, nn.Linear)
        projection.register_forward_hook(lambda _, given, __, name=name: rows_of.update({name: len(given[0])}))
    module.some_rows(torch.randn(BATCH, 1, WIDTH), None, torch.tensor([2]))
    assert rows_of == {"q_proj": 1, "k_proj": BATCH, "v_proj": BATCH, "o_proj": 1}


@pytest.mark.parametrize(("part", "causal"), [(Softmax(), False), (Lsh(), True)], ids=str)
def test_a_mixer_without_a_state_refuses(part: Mixer, causal: bool) -> None:
    module = part.build(Site(width=WIDTH, heads=HEADS, causal=causal))
    with pytest.raises(Unsupported, match=r"keeps no state|no streaming state"):
        module.some_rows(torch.randn(BATCH, 1, WIDTH), None, torch.tensor([2]))
