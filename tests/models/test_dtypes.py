"""Models built under another default dtype or on the meta device, or loaded in a dtype, are those that were cast."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM
from formers.catalogue import members
from formers.mixers import FeatureMap, Linear, Longformer, Mixer, Sparse
from formers.part import Unsupported
from formers.positions import Position, Shaw, Sinusoidal
from formers.residuals import Residual

MIXERS = [*(kind() for kind in members(Mixer)), *(Linear(feature=kind()) for kind in members(FeatureMap))]
POSITIONS = [*(kind() for kind in members(Position)), Shaw(values=False)]
WITHOUT_WEIGHTS = [position for position in POSITIONS if position.acts_on != "weights"]  # sparse mixers form none
CHOICES = [
    *({"mixer": mixer, "position": Sinusoidal()} for mixer in MIXERS),
    *({"position": position} for position in POSITIONS),
    *({"mixer": mixer, "position": position} for mixer in (Sparse(), Longformer()) for position in WITHOUT_WEIGHTS),
    *({"residual": kind()} for kind in members(Residual)),
]


def name(choice: dict[str, Any]) -> str:
    return "-".join(map(str, choice.values()))


CASES = [
    *(pytest.param(choice, torch.bfloat16, id=name(choice)) for choice in CHOICES),
    *(pytest.param({"position": one}, torch.float64, id=f"{one} in float64") for one in POSITIONS),
]
"""bfloat16 shows what was made in the wrong dtype in every model; float64 what of a position was made in float32."""


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def head_of(sizes: Any) -> Any:
    """The head that the choices allow: that of a causal model if they can be one."""
    try:
        return CausalLM(copy.deepcopy(sizes)) and CausalLM
    except Unsupported:
        return MaskedLM


@pytest.fixture(params=CHOICES, ids=name)
def sizes(request: pytest.FixtureRequest, config: Any) -> Any:
    return config(**{"width": 32, "heads": 4} | request.param)


@pytest.mark.parametrize(("sizes", "dtype"), CASES, indirect=["sizes"])
def test_wherever_it_is_built_a_model_is_the_one_that_was_cast(
    sizes: Any, ids: torch.Tensor, dtype: torch.dtype, tmp_path: Any
) -> None:
    head = head_of(sizes)
    torch.manual_seed(0)
    plain = head(sizes).eval()
    plain.save_pretrained(tmp_path)
    cast = copy.deepcopy(plain).to(dtype)
    want, weights = cast(ids).logits, cast.state_dict()

    def same(model: Any, how: str) -> None:
        found = {key: tensor.dtype for key, tensor in model.state_dict().items()}
        assert found == {key: tensor.dtype for key, tensor in weights.items()}, how
        logits = model.eval()(ids).logits
        assert logits.dtype == dtype, how
        assert torch.equal(logits, want), how

    with default_dtype(dtype):
        built = head(sizes)
        built.load_state_dict(weights)
        same(built, "built under the default dtype, and run there")
        same(cast, "cast, and run under the default dtype")
        with torch.device("meta"):
            on_meta = head(sizes)
        same(head.from_pretrained(tmp_path, dtype=dtype), "loaded in the dtype, under the default dtype")
    same(built, "built under the default dtype")
    same(head.from_pretrained(tmp_path, dtype=dtype), "loaded in the dtype")
    with torch.device("meta"):
        cast_on_meta = head(sizes).to(dtype)
    for model in (on_meta, cast_on_meta):
        model = emptied(model)
        model.init_weights()
        assert model.eval()(ids).logits.isfinite().all(), "init_weights leaves something as it was"
        model.load_state_dict(weights)
        model.tie_weights()
        same(model, "built on the meta device")


@torch.no_grad()
def emptied(model: Any) -> Any:
    """The model on the CPU, its tensors full of what must not be kept."""
    model = model.to_empty(device="cpu")
    model.tie_weights()
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.fill_(torch.nan if tensor.is_floating_point() else 123456789)
    return model


def test_nothing_in_a_float64_model_is_rounded_to_float32(sizes: Any, ids: torch.Tensor) -> None:
    """No operation gives float32 or less, but for whole and half numbers, which it holds exactly (places of tiles)."""
    model = head_of(sizes)(sizes).double().eval()
    with default_dtype(torch.float64), NoFloat32():
        model(ids)


class NoFloat32(torch.utils._python_dispatch.TorchDispatchMode):
    """Raises where an operation gives float32 or less, and not whole or half numbers, which it holds exactly."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        narrow = isinstance(result, torch.Tensor) and result.dtype in (torch.float32, torch.bfloat16, torch.float16)
        assert not narrow or bool((2 * result == (2 * result).round()).all()), (
            f"{func} gives {result.dtype} in a float64 model"
        )
        return result
