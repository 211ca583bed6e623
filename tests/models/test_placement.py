"""Models that accelerate spreads over devices: their layers stay whole, and everything meets where it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import nn
from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map
from two_devices import plain, spread, two_devices

from formers import CausalLM, MaskedLM, Seq2SeqConfig, Seq2SeqLM, SequenceClassifier, TransformerConfig
from formers.catalogue import CATALOGUE
from formers.computation import Computation
from formers.memory import Memory
from formers.mixers import FeatureMap, Fourier, Mixer
from formers.models.config import AXIS_OF
from formers.part import Part
from formers.positions import NoPosition
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


def choice(part: Part) -> dict[str, Any]:
    if isinstance(part, FeatureMap):
        return {"mixer": f"linear(feature={part})"}
    axis = next(name for name, kind in AXIS_OF.items() if isinstance(part, kind))
    return {axis: part} | ({"position": NoPosition()} if isinstance(part, Mixer) else {})


def heads_for(kind: type[Part]) -> list[Any]:
    """The language models that may have a part: both for a mixer, else one, as no other part looks at the direction."""
    can = kind.can if issubclass(kind, (Mixer, Memory)) else {"causal"}
    return [head for head, ability in ((CausalLM, "causal"), (MaskedLM, "bidirectional")) if ability in can]


def outputs(model: Any, ids: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    """The logits of padded rows, and where the model streams, of tokens after them; of rows of documents, too."""
    first, given = 7, dict(options)
    if not isinstance(getattr(model.config, "mixer", None), Fourier):
        given["attention_mask"] = torch.ones_like(ids).index_fill(1, torch.tensor([0]), 0)
    if not model.streaming:
        return [model(ids, **given).logits]
    masks = [given["attention_mask"][:, :first], given["attention_mask"]]
    out = model(ids[:, :first], **given | {"attention_mask": masks[0], "use_cache": True})
    past = {"past_key_values": out.past_key_values, "use_cache": True}
    return [out.logits, model(ids[:, first:], **given | {"attention_mask": masks[1]} | past).logits]


def same_on_two_devices(model: Any, run: Callable[[Any], list[torch.Tensor]]) -> None:
    with torch.no_grad():
        want = run(model)
    with two_devices():
        got = run(spread(model))
    for here, there in zip(want, got, strict=True):
        torch.testing.assert_close(plain(there), here, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name())
def test_every_part_on_two_devices(kind: Any, config: Callable[..., TransformerConfig], ids: torch.Tensor) -> None:
    for head in heads_for(kind):
        torch.manual_seed(0)
        model = head(config(tie_word_embeddings=False, **choice(kind()))).eval()
        same_on_two_devices(model, lambda model: outputs(model, ids))


STOPPING = (
    "universal(blocks=2, position=learned, time=learned)",
    "act(blocks=2)",
    "early_exit(rule=margin(threshold=0.3), heads=own)",
    "early_exit(rule=saturation(threshold=0.9))",
    "early_exit(rule=sequence_depth())",
    "early_exit(rule=multinomial_depth())",
)


@pytest.mark.parametrize("computation", STOPPING)
def test_generation_on_two_devices(computation: str, config: Callable[..., Any], ids: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = CausalLM(config(depth=4, computation=computation, tie_word_embeddings=False)).eval()
    same_on_two_devices(model, lambda model: [model.generate(ids, max_new_tokens=5, do_sample=False)])


def test_documents_and_global_tokens_on_two_devices(config: Callable[..., Any], ids: torch.Tensor) -> None:
    number, seen = torch.zeros_like(ids), torch.zeros_like(ids)
    number[:, 5:], seen[:, 2] = 1, 1
    model = MaskedLM(config(depth=4, mixer="longformer(tokens=[0])", tie_word_embeddings=False)).eval()
    same_on_two_devices(model, lambda model: [model(ids, seq_idx=number, global_attention_mask=seen).logits])


def test_an_encoder_decoder_on_two_devices(ids: torch.Tensor) -> None:
    sizes = {"vocab_size": 29, "width": 24, "depth": 2, "encoder_depth": 2, "heads": 3}
    model = Seq2SeqLM(Seq2SeqConfig(**sizes, tie_word_embeddings=False)).eval()
    same_on_two_devices(model, lambda model: [model.generate(ids, max_new_tokens=4, num_beams=2, do_sample=False)])


def test_layers_on_disk(config: Callable[..., Any], ids: torch.Tensor, tmp_path: Any) -> None:
    model = CausalLM(config(depth=4)).eval()
    model.save_pretrained(tmp_path)
    elsewhere = {"model.layers.1": "disk", "model.layers.2": "disk"}
    here = [f"model.{name}" for name, _ in model.model.named_children() if name != "layers"]
    here += ["lm_head", "model.layers.0", "model.layers.3"]
    places = dict.fromkeys(here, "cpu") | elsewhere
    loaded = CausalLM.from_pretrained(tmp_path, device_map=places, offload_folder=tmp_path / "offload")
    assert {p.device.type for p in loaded.model.layers[1].parameters()} == {"meta"}
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits)


def same_when_offloaded(model: Any, run: Callable[[Any], list[torch.Tensor]]) -> None:
    """Compare with the model whose weights are there while their own module runs, and at no other time."""
    with torch.no_grad():
        want = run(model)
        got = run(cpu_offload(model, execution_device=torch.device("cpu")))
    assert all(p.is_meta for p in model.parameters())
    for there, here in zip(got, want, strict=True):
        torch.testing.assert_close(there, here)


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name())
def test_every_part_offloaded(kind: Any, config: Callable[..., TransformerConfig], ids: torch.Tensor) -> None:
    for head in heads_for(kind):
        torch.manual_seed(0)
        same_when_offloaded(head(config(**choice(kind()))).eval(), lambda model: outputs(model, ids))


@pytest.mark.parametrize(
    "options",
    [
        {"token_types": 2, "embedding_norm": "layer_norm()", "final_norm": "none()"},
        {"qk_norm": "rms_norm()", "head_bias": True, "tie_word_embeddings": False},
        {"position": "xl(clamp=3)"},
        {"computation": "early_exit(rule=classifier(threshold=0.5), heads=own)"},
        {"computation": "early_exit(rule=geometric_depth())"},
        {"computation": "early_exit(rule=sequence_depth())"},
        {"computation": "universal(position=learned, time=learned)"},
        {"memory": "memorizing(window=3, size=4)"},
        {"memory": "compressive(length=3)"},
    ],
    ids=str,
)
def test_options_offloaded(
    options: dict[str, Any], config: Callable[..., TransformerConfig], ids: torch.Tensor
) -> None:
    torch.manual_seed(0)
    model = CausalLM(config(depth=3, **options)).eval()
    same_when_offloaded(model, lambda model: [*outputs(model, ids), model.generate(ids, max_new_tokens=4)])


def test_heads_offloaded(config: Callable[..., TransformerConfig], ids: torch.Tensor) -> None:
    seen = torch.zeros_like(ids).index_fill(1, torch.tensor([2]), 1)
    bert = config(token_types=2, pooler="tanh", mixer="longformer()")
    same_when_offloaded(
        SequenceClassifier(bert).eval(),
        lambda model: [model(ids, global_attention_mask=seen).logits, model(ids).logits],
    )
    same_when_offloaded(MaskedLM(config(head_transform="gelu")).eval(), lambda model: [model(ids).logits])
    sizes = {"vocab_size": 29, "width": 24, "depth": 2, "encoder_depth": 2, "heads": 3}
    model = Seq2SeqLM(Seq2SeqConfig(**sizes)).eval()
    same_when_offloaded(model, lambda model: [model.generate(ids, max_new_tokens=4, num_beams=2)])
