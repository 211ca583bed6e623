"""Models that accelerate spreads over devices: their layers stay whole, and it finds them by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate.utils import FullyShardedDataParallelPlugin
from torch import nn
from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map

from formers import CausalLM, MaskedLM, Seq2SeqConfig, Seq2SeqLM
from formers.catalogue import CATALOGUE
from formers.computation import Computation
from formers.residuals import Residual

LAYERS = [kind for kind in CATALOGUE if issubclass(kind, (Residual, Computation))]
"""The parts that decide what a layer is, and which there are."""


def layers_of(model: Any) -> dict[str, nn.Module]:
    """The layers of a model, by name: what stands in a list under the name `layers`."""
    return {name: module for name, module in model.named_modules() if name.split(".")[-2:-1] == ["layers"]}


def every_model(config: Callable[..., Any]) -> list[Any]:
    axis = {Residual: "residual", Computation: "computation"}
    models: list[Any] = [MaskedLM(config(depth=4))]
    for kind in LAYERS:
        option = next(name for base, name in axis.items() if issubclass(kind, base))
        models.append(CausalLM(config(depth=4, **{option: kind()})))
    models.append(Seq2SeqLM(Seq2SeqConfig(vocab_size=29, width=24, depth=3, encoder_depth=3, heads=3)))
    return models


def test_a_map_for_several_devices_cuts_no_layer(config: Callable[..., Any]) -> None:
    for model in every_model(config):
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        for share in (0.3, 0.45, 0.6, 0.8):
            room = {0: int(share * size), 1: 10 * size, "cpu": 10 * size}
            balanced = get_balanced_memory(model, dict(room), model._no_split_modules)  # as device_map="auto" asks
            assert balanced.keys() == room.keys()
            found = infer_auto_device_map(model, max_memory=room, no_split_module_classes=model._no_split_modules)
            cut = [name for name in found for layer in layers_of(model) if name.startswith(f"{layer}.")]
            assert not cut, (model.config.choices(), share, cut)


def test_the_map_would_have_cut_one_by_wrong_names(config: Callable[..., Any]) -> None:
    model = CausalLM(config(depth=4))
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    room = {0: int(0.45 * size), 1: 10 * size}
    found = infer_auto_device_map(model, max_memory=room, no_split_module_classes=["Block"])
    assert [name for name in found if name.count(".") > 2 and name.startswith("model.layers.")]


def test_sharding_by_accelerate_finds_the_layers(config: Callable[..., Any]) -> None:
    for model in every_model(config):
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="transformer_based_wrap")
        plugin.set_auto_wrap_policy(model)
        kinds = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
        assert kinds == {type(layer) for layer in layers_of(model).values()}
