"""Parts equal their references with options away from the defaults, too: where these change what is computed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from formers.computation import Act, Universal
from formers.ffn import Glu, Mlp, SeparableConv
from formers.mixers import (
    BigBird,
    BlockwiseAttention,
    Dense,
    Etc,
    ImageLocal,
    Linear,
    Linformer,
    LocalDense,
    Longformer,
    Lsh,
    Metric,
    Performer,
    Pool,
    Relu,
    Rfa,
    Routing,
    SlidingDense,
    Softmax,
    Sparse,
    SparseTransformer,
)
from formers.norms import LayerNorm, MaxNorm, RmsNorm
from formers.part import Part
from formers.patterns import Fixed, Global, Local1D, Local2D, Pattern, Strided, Window
from formers.positions import Cosine, Grid, Learned, Rotary, Sinusoidal
from formers.testing import SITE, references
from formers.testing.laws import same_as_reference

spec = importlib.util.spec_from_file_location("known", Path(__file__).parent.parent / "patterns" / "known.py")
assert spec is not None
assert spec.loader is not None
known = importlib.util.module_from_spec(spec)
spec.loader.exec_module(known)

WITH_SCORES = [
    Softmax(kv_heads=1, bias=True),
    Metric(positive=True, eps=0.1),
    Sparse(pattern=Window(3), kv_heads=1, bias=True),
    Sparse(per_head=(Window(3), Strided(5), Global(0))),
    SparseTransformer(pattern=Fixed(8, 2)),
    SparseTransformer(pattern=Strided(5), factors="layers"),
    SparseTransformer(pattern=Strided(5), factors="merged"),
    Longformer(window=(3,), dilation=(1, 2), tokens=(0, 5), bias=True),
    Longformer(window=(2,), tokens=()),
    BigBird(block=4, random=1, seed=3),
    BigBird(block=3, radius=0, random=0, first=3),
    Etc(tokens=3, radius=2, clip=2, segment=4),
    Etc(tokens=3, radius=2, clip=2, segment=30, hard=True),
    ImageLocal(pattern=Local1D(5, 3)),
    ImageLocal(pattern=Local2D(12, 9, block=4, halo=2)),
    BlockwiseAttention(blocks=3, shifted=2),
    BlockwiseAttention(blocks=4, shifted=0),
    Linformer(length=5, share="none"),
    Linformer(length=7, share="kv"),
    Linformer(length=50, share="layerwise"),
    Linformer(length=12, kind="mean"),
    Linformer(length=12, kind="max"),
    Linformer(length=12, kind="conv"),
    Lsh(rounds=1, chunk=5, buckets=6),
    Lsh(rounds=2, chunk=2),
    Lsh(rounds=1, chunk=6, buckets=1),
    Routing(clusters=3, window=5, local_heads=0),
    Routing(clusters=3, window=4, select="balanced"),
    Routing(clusters=4, window=3, select="balanced", leaks=True),
    Routing(top=0),
]
WITH_SUMS = [
    Dense(heads=3),
    Dense(order="scores"),
    Dense(order="state"),
    LocalDense(window=7, shift=3, heads=3),
    SlidingDense(window=5, heads=3),
    Linear(normalize=False),
    Linear(feature=Relu(), normalize=False),
    Performer(kind="hyperbolic"),
    Performer(kind="trigonometric"),
    Performer(kind="relu", orthogonal=False),
    Performer(features=10),
    Rfa(sigma=0.8),
    Rfa(kernel="arccos"),
    Rfa(gate=True),
    Rfa(gate=True, kernel="arccos"),
    Pool(window=5),
]
POSITIONS = [
    Sinusoidal(how="concatenate", width=6),
    Sinusoidal(base=100.0),
    Learned(beyond="copy"),
    Grid(rows=12, columns=9),
    Grid(rows=10, columns=11, how="concatenate", width=5),
    Rotary(layout="interleaved", fraction=0.5, offset=3),
    Rotary(scaling="linear", factor=2.0),
    Rotary(scaling="ntk", factor=2.0),
    Rotary(scaling="yarn", factor=4.0, trained_length=64),
    Rotary(scaling="yarn", factor=4.0),
    Cosine(wave="cos-sin", base=100.0),
]
TOKENWISE = [
    LayerNorm(bias=False, eps=0.1),
    RmsNorm(eps=0.1),
    MaxNorm(weight="before"),
    MaxNorm(weight="after", eps=0.1),
    Glu(bias=True, activation="sigmoid"),
    *(Mlp(activation=one) for one in ("gelu_tanh", "relu", "squared_relu", "silu", "tanh", "identity")),
    Mlp(bias=False, chunks=3, expand=2.0),
    SeparableConv(bias=False, activation="gelu", up_kernel=1, down_kernel=7, expand=2.0),
]
STACKS = [
    Universal(blocks=2, position="learned", time="learned"),
    Universal(position="none", time="none"),
    Universal(time="learned", scale=0.5),
    Act(blocks=3, epsilon=0.4, bias=3.0),
]


@pytest.mark.parametrize("part", [*WITH_SCORES, *WITH_SUMS, *POSITIONS, *TOKENWISE, *STACKS], ids=str)
def test_options_keep_to_the_reference(part: Part) -> None:
    same_as_reference(part)


@pytest.mark.parametrize(
    "part",
    [
        BigBird(block=4, random=1),
        Longformer(window=(2, 5)),
        Routing(top=1, clusters=3, window=5),
        SparseTransformer(pattern=Strided(5), factors="layers"),
    ],
    ids=str,
)
def test_layers_keep_to_the_reference(part: Part) -> None:
    for layer in (1, 3):
        same_as_reference(part, replace(SITE, layer=layer, layers=4))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pattern", known.PATTERNS, ids=str)
def test_patterns_hold_the_pairs_of_their_references(pattern: Pattern, causal: bool) -> None:
    length, layer = 77, 2
    (want,) = references.patterns.pairs((pattern,), 1, length, causal, layer)
    i = torch.arange(length)
    found = pattern.at_layer(layer).resolve(length=length, causal=causal).mask(i[:, None], i[None, :])
    assert torch.equal(found.expand(length, length), want)
