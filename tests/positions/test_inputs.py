"""Positions on the input and on the layer against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from formers.part import Site
from formers.positions import Cosine, Grid, Learned, NoPosition, Sinusoidal
from formers.positions.sinusoidal import sinusoids
from formers.testing import assert_same, tokens

SITE = Site(width=24, heads=3, causal=False, context_length=128)
POSITIONS = torch.arange(77).unsqueeze(0)
SINGLE = 77 * torch.finfo(torch.float32).eps
"""Angles are made in float32: their rounding, times the position."""


def encoding(width: int, base: float) -> torch.Tensor:
    pe = torch.zeros(77, width, dtype=torch.float64)
    for i in range(77):
        for m in range(width // 2):
            pe[i, 2 * m], pe[i, 2 * m + 1] = (
                math.sin(i / base ** (2 * m / width)),
                math.cos(i / base ** (2 * m / width)),
            )
    return pe


def test_sinusoidal_added() -> None:
    for scale, factor in ((None, 24**0.5), (1.0, 1), (3.0, 3)):
        got = Sinusoidal(base=50, scale=scale).build(SITE)(tokens(), POSITIONS)
        assert_same(got, factor * tokens() + encoding(24, 50), f"embedding · {factor} + sinusoids", SINGLE)


def test_sinusoidal_concatenated() -> None:
    part = Sinusoidal(how="concatenate", width=6)
    assert part.embedding_width(SITE) == 18
    got = part.build(SITE)(tokens(width=18), POSITIONS)
    assert_same(got[..., :18], tokens(width=18), "embedding")
    assert_same(got[..., 18:], encoding(6, 10000).expand(2, -1, -1), "sinusoids", SINGLE)


@pytest.mark.parametrize("width", [5, 24, 0])
def test_sinusoidal_widths_that_do_not_fit(width: int) -> None:
    with pytest.raises(ValueError, match="even and below"):
        Sinusoidal(how="concatenate", width=width).build(SITE)


def test_sinusoids_of_far_positions() -> None:
    far = sinusoids(torch.tensor([10**6]), 8)
    want = torch.tensor([f(10**6 / 10000 ** (2 * m / 8)) for m in range(4) for f in (math.sin, math.cos)])
    assert_same(far[0].double(), want.double(), "sinusoids", 10**6 * torch.finfo(torch.float32).eps)


def test_learned() -> None:
    module = Learned().build(SITE).double()
    assert module.table.weight.shape == (128, 24)
    assert_same(module(tokens(), POSITIONS + 3), tokens() + module.table.weight[3:80], "embedding + table")
    with pytest.raises(ValueError, match="knows 128 positions, but position 128 was asked for"):
        module(tokens(), POSITIONS + 52)


def test_learned_copied_beyond_its_table() -> None:
    module = Learned(beyond="copy").build(SITE).double()
    assert_same(module(tokens(), POSITIONS + 128), module(tokens(), POSITIONS), "embedding + table again")


def test_sinusoidal_of_files_from_before_the_factor() -> None:
    old = {"part": "sinusoidal", "how": "add", "width": None, "base": 10000.0}
    assert Sinusoidal.from_json(old) == Sinusoidal(scale=1.0)
    assert Sinusoidal(scale=1.0).to_json() == old
    assert Sinusoidal.from_json(Sinusoidal().to_json()) == Sinusoidal()


@pytest.mark.parametrize("wave", ["cos", "cos-sin"])
@pytest.mark.parametrize("per_head", [False, True])
def test_cosine(wave: str, per_head: bool) -> None:
    width = 8 if per_head else 24
    theta = (50.0 ** (-torch.arange(width).double() / width)).repeat(24 // width)
    angles = torch.arange(77).double()[:, None] * theta
    want = tokens() * (angles.cos() if wave == "cos" else angles.cos() - angles.sin())
    got = Cosine(base=50, wave=wave, per_head=per_head).build(SITE)(tokens(), POSITIONS)
    assert_same(got, want, "x · wave")


def test_none_changes_nothing() -> None:
    assert NoPosition.name() == "none"
    assert torch.equal(NoPosition().build(SITE)(tokens(), POSITIONS), tokens())


@pytest.mark.parametrize("how", ["concatenate", "add"])
def test_a_grid_tells_rows_and_columns(how: str) -> None:
    part = Grid.parse(f"grid(rows=7, columns=11, how={how})")
    module, width = part.build(SITE).double(), part.embedding_width(SITE)
    x = tokens(width=width)
    added = module(x, POSITIONS)[..., -24 if how == "add" else -12 :] - (x if how == "add" else 0)
    image = added.unflatten(1, (7, 11))
    half = added.shape[-1] // 2
    assert_same(image[:, :, :, :half], image[:, :, :1, :half].expand(-1, -1, 11, -1), "a row's vector in its columns")
    assert_same(image[:, :, :, half:], image[:, :1, :, half:].expand(-1, 7, -1, -1), "a column's vector in its rows")
    assert (image[:, 0, 0] != image[:, 1, 1]).all()


def test_a_grid_ends_with_its_image() -> None:
    with pytest.raises(ValueError, match=r"grid\(rows=7, columns=10\) has 70 pixels, but position 76 was asked for"):
        Grid(rows=7, columns=10).build(SITE)(tokens(), POSITIONS)


@pytest.mark.parametrize("width", [0, 1, 24])
def test_grid_widths_that_do_not_fit(width: int) -> None:
    with pytest.raises(ValueError, match="at least 2 and at most 23"):
        Grid(how="concatenate", width=width).build(SITE)
