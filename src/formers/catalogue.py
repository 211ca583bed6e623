"""Every part there is, by axis. What is not listed here does not exist for the command line, the laws or the docs."""

from __future__ import annotations

from formers.ffn import Ffn, Glu, Mlp
from formers.mixers import (
    ArcCosine,
    BigBird,
    BlockwiseAttention,
    Dense,
    Elu,
    Etc,
    Exp,
    Favor,
    FeatureMap,
    Fourier,
    Identity,
    ImageLocal,
    Linear,
    Linformer,
    LocalDense,
    Longformer,
    Lsh,
    Metric,
    Mixer,
    Performer,
    Pool,
    Quadratic,
    RandomFourier,
    Relu,
    Rfa,
    Routing,
    SlidingDense,
    Softmax,
    Sparse,
    SparseTransformer,
    SquaredRelu,
    Taylor2,
)
from formers.norms import LayerNorm, MaxNorm, Norm, RmsNorm
from formers.part import Part
from formers.positions import Alibi, Cosine, Learned, NoPosition, Position, Rotary, Sinusoidal
from formers.residuals import Danet, PostNorm, PreNorm, Residual, Reversible

AXES: dict[str, type[Part]] = {
    "mixer": Mixer,
    "position": Position,
    "residual": Residual,
    "norm": Norm,
    "ffn": Ffn,
    "feature": FeatureMap,
}
"""The choices a model is made of, and `feature`, a choice within linear attention."""

CATALOGUE: tuple[type[Part], ...] = (
    Softmax,
    Quadratic,
    Metric,
    Dense,
    Linear,
    Performer,
    Rfa,
    Sparse,
    Longformer,
    BigBird,
    Etc,
    SparseTransformer,
    ImageLocal,
    BlockwiseAttention,
    LocalDense,
    SlidingDense,
    Linformer,
    Lsh,
    Routing,
    Fourier,
    Pool,
    Identity,
    NoPosition,
    Sinusoidal,
    Learned,
    Rotary,
    Alibi,
    Cosine,
    PreNorm,
    PostNorm,
    Danet,
    Reversible,
    LayerNorm,
    RmsNorm,
    MaxNorm,
    Mlp,
    Glu,
    Elu,
    Relu,
    SquaredRelu,
    Exp,
    Taylor2,
    Favor,
    RandomFourier,
    ArcCosine,
)


def members(axis: type[Part]) -> tuple[type[Part], ...]:
    """The catalogue's parts on one axis."""
    return tuple(part for part in CATALOGUE if issubclass(part, axis))
