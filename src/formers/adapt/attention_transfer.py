"""Attention transfer: new mixers learn to give what a teacher's attention gives for the same hidden states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from formers.models import Transformer
from formers.models.pretrained import FormersModel
from formers.part import Unsupported


def transfer_losses(
    teacher: FormersModel, student: FormersModel, input_ids: Tensor, attention_mask: Tensor | None = None
) -> dict[int, Tensor]:
    """Return Σ|ŷ − y|² / Σ|y|² over the tokens, for each layer whose mixer is not the teacher's.

    y is what the teacher's mixer of that layer makes of its input x, and ŷ what the student's mixer makes of the same
    x: layers are taught side by side, each from right inputs, and no gradient leaves one. 0 = the same function, 1 = no
    better than nothing.

    Args:
        teacher, student: models of the same sizes, as `convert_weights` makes one from the other.
        input_ids, attention_mask: (B, L), as the models take them.

    Source: Zhang et al. 2024 (LoLCATs), arXiv:2410.10254.
    """
    layers = taught_layers(teacher, student)
    mixers = mixers_of(student, layers)
    with torch.no_grad(), _mixings(teacher, layers) as seen:
        teacher.base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
    real = None if attention_mask is None else attention_mask.bool().unsqueeze(-1)
    return {layer: _distance(mixers[layer], *seen[layer], real) for layer in layers}


def taught_layers(teacher: FormersModel, student: FormersModel) -> list[int]:
    """Return the layers whose mixers differ. Raise Unsupported for models of other sizes, or with none that differ."""
    ours, theirs = student.config, teacher.config
    for name in ("width", "depth", "vocab_size"):
        if getattr(ours, name) != getattr(theirs, name):
            raise Unsupported(f"the teacher has {name}={getattr(theirs, name)}, the student {getattr(ours, name)}")
    layers = [layer for layer in range(ours.depth) if ours.mixer_at(layer) != theirs.mixer_at(layer)]
    if not layers:
        raise Unsupported(f"teacher and student have the same mixers, {ours.choices()['mixer']}: nothing is to learn")
    return layers


def mixers_of(model: FormersModel, layers: list[int]) -> dict[int, nn.Module]:
    """Return the mixers of some layers of a model, or of the one in it."""
    backbone = model if isinstance(model, Transformer) else model.base_model
    assert isinstance(backbone, Transformer)
    return {layer: backbone.layers[layer].get_submodule("mixer") for layer in layers}


def own_weights(mixer: nn.Module) -> list[nn.Parameter]:
    """Return the weights of a mixer that no linear layer holds, such as those of its feature map."""
    linear = {
        id(p) for layer in mixer.modules() if isinstance(layer, nn.Linear) for p in layer.parameters(recurse=False)
    }
    return [p for p in mixer.parameters() if id(p) not in linear]


@contextmanager
def _mixings(model: FormersModel, layers: list[int]) -> Iterator[dict[int, tuple[dict[str, Any], Tensor]]]:
    """Collect the arguments and the output of some layers' mixers while a model runs."""
    seen: dict[int, tuple[dict[str, Any], Tensor]] = {}

    def keep(layer: int) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: tuple[Tensor, Any]) -> None:
            seen[layer] = ({"x_bld": args[0], "state": None} | named, out[0])

        return hook

    mixers = mixers_of(model, layers)
    handles = [mixer.register_forward_hook(keep(layer), with_kwargs=True) for layer, mixer in mixers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _distance(mixer: nn.Module, given: dict[str, Any], want_bld: Tensor, real_bl1: Tensor | None) -> Tensor:
    """Return the relative error of a mixer's output over real tokens."""
    got_bld, _ = mixer(**given)
    return relative_error(got_bld, want_bld, real_bl1)


def relative_error(got_bld: Tensor, want_bld: Tensor, real_bl1: Tensor | None = None) -> Tensor:
    """Return Σ|ŷ − y|² / Σ|y|² over real tokens, in float32 or wider."""
    off, size = (got_bld - want_bld).float(), want_bld.float()
    if real_bl1 is not None:
        off, size = off.masked_fill(~real_bl1, 0), size.masked_fill(~real_bl1, 0)
    return off.square().sum() / size.square().sum().clamp(min=1e-12)
