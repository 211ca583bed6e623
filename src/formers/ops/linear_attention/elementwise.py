"""Feature maps that are a function of each number, which a kernel applies as it reads queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from formers.ops.common.dtypes import accumulation_dtype

ElementwiseFeature = Literal["identity", "elu", "relu", "squared_relu", "exp"]
"""Names of feature maps: x as it is, elu(x) + 1, max(x, 0), max(x, 0)², exp(x)."""


def _elu_plus_one(x: Tensor) -> Tensor:
    return F.elu(x) + 1


def _squared_relu(x: Tensor) -> Tensor:
    return F.relu(x).square()


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": _elu_plus_one,
    "relu": F.relu,
    "squared_relu": _squared_relu,
    "exp": torch.exp,
}


def elementwise_features(x: Tensor, name: str) -> Tensor:
    """Return φ(x), in float32 or wider: squares, and gradients of nearly nothing, would leave float16. "identity" is x.

    Raise ValueError for a name that is none of `ElementwiseFeature`.
    """
    check_feature(name)
    return x if name == "identity" else _FUNCTIONS[name](x.to(accumulation_dtype(x.dtype)))


def check_feature(name: str) -> None:
    """Raise ValueError for a name that is none of `ElementwiseFeature`."""
    if name != "identity" and name not in _FUNCTIONS:
        names = ", ".join(map(repr, ("identity", *_FUNCTIONS)))
        raise ValueError(f"feature is {name!r}; expected one of {names}, or apply the map before the call")
