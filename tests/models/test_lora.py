"""LoRA through PEFT on models with every part: merging changes nothing, and each row may have an adapter of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from formers import CausalLM, Transformer, TransformerConfig
from formers.catalogue import AXES, CATALOGUE, members
from formers.ffn import Glu
from formers.memory import NoMemory
from formers.mixers import FeatureMap, Linear, Mixer
from formers.models import convert_weights
from formers.part import Part
from formers.positions import Xl
from formers.testing import assert_same
from formers.testing.hosts import axis_of

peft = pytest.importorskip("peft", reason="LoRA needs the extra adapt: pip install peft")
VOCABULARY, ROWS, LENGTH = 17, 3, 21
MIXERS = [kind() for kind in members(Mixer)]
OTHERS = [kind() for kind in CATALOGUE if kind is not NoMemory and not issubclass(kind, Mixer)]
NAMES = ["first", "second", "__base__"]
"""The adapter of each row; PEFT's name for none is the last one."""
OF_TOKENS = r".*(?<!\.r)_proj"
"""All projections but `r_proj` of xl, whose input is distances: the same for all rows."""


def model_with(part: Part) -> Any:
    """A model with one part that is not the default, causal where that part can be."""
    axis = next(name for name, kind in AXES.items() if axis_of(part) is kind)
    swaps: dict[str, Any] = {"mixer": Linear(feature=part)} if isinstance(part, FeatureMap) else {axis: part}
    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "width": 24, "depth": 2, "heads": 3, "ffn": Glu()}
    position: Any = "none" if axis != "memory" else "xl"
    causal = not isinstance(part, Mixer) or "causal" in part.can
    torch.manual_seed(0)
    config = TransformerConfig(**{"position": position, "causal": causal, **sizes, **swaps})
    return (CausalLM if causal else Transformer)(config).double().eval()


def with_adapters(model: Any, names: list[str], targets: str = r".*_proj") -> Any:
    """The model with LoRA of rank 2 in its projections, one for each name, far from the zeros they start with."""
    config = peft.LoraConfig(r=2, target_modules=targets, lora_dropout=0.0)
    lora = peft.get_peft_model(model, config, adapter_name=names[0])
    for name in names[1:]:
        lora.add_adapter(name, config)
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    return lora.double().eval()


@torch.no_grad()
def output(model: Any, ids: Tensor, **options: Any) -> Tensor:
    return model(input_ids=ids, **options)[0]


def some_ids() -> Tensor:
    return torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


def check_merging(part: Part) -> None:
    """Every projection is found by its name, adapters change the output, and merging them does not."""
    model, ids = model_with(part), some_ids()
    layers = model.model.layers if isinstance(model, CausalLM) else model.layers
    linear = [name for name, module in layers.named_modules() if isinstance(module, nn.Linear)]
    assert all(name.endswith("proj") for name in linear), "projections are named as PEFT expects"
    lora = with_adapters(model, ["first"])
    unmerged = output(lora, ids)
    with lora.disable_adapter():
        assert not torch.allclose(unmerged, output(lora, ids)), "the adapters change nothing"
    assert_same(output(lora.merge_and_unload(), ids), unmerged, "output after merging")


def check_rows(part: Part, folder: Path) -> None:
    """Rows with an adapter each are what they are with that one alone, also when adapters were saved and loaded."""
    lora, ids = with_adapters(model_with(part), NAMES[:2], OF_TOKENS), some_ids()
    together = output(lora, ids, adapter_names=NAMES)
    for row, name in enumerate(NAMES[:2]):
        lora.set_adapter(name)
        assert_same(output(lora, ids)[row], together[row], f"output of the row with adapter {name}")
    with lora.disable_adapter():
        assert_same(output(lora, ids)[2], together[2], "output of the row without an adapter")
    lora.save_pretrained(folder)
    again = peft.PeftModel.from_pretrained(model_with(part), folder / "first", adapter_name="first")
    again.load_adapter(folder / "second", "second")
    assert_same(output(again.eval(), ids, adapter_names=NAMES), together, "output after saving and loading adapters")


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_merged_equals_unmerged(mixer: Mixer) -> None:
    check_merging(mixer)


@pytest.mark.slow
@pytest.mark.parametrize("part", OTHERS, ids=str)
def test_merged_equals_unmerged_with_other_parts(part: Part) -> None:
    check_merging(part)


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_rows_have_adapters_of_their_own(mixer: Mixer, tmp_path: Path) -> None:
    check_rows(mixer, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("part", OTHERS, ids=str)
def test_rows_have_adapters_of_their_own_with_other_parts(part: Part, tmp_path: Path) -> None:
    check_rows(part, tmp_path)


def test_distances_have_no_adapter_of_a_row() -> None:
    lora = with_adapters(model_with(Xl()), NAMES[:2])
    with pytest.raises(ValueError, match="same as the number of inputs, but got 3 and 21"):
        output(lora, some_ids(), adapter_names=NAMES)


def test_only_adapters_train() -> None:
    model = CausalLM(TransformerConfig(vocab_size=17, width=24, depth=1, heads=3))
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    ids = torch.randint(0, 17, (2, 9))
    lora(input_ids=ids, labels=ids).loss.backward()
    trained = {name for name, p in lora.named_parameters() if p.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)
    assert lora.generate(input_ids=ids, max_new_tokens=3, do_sample=False).shape == (2, 12)


def test_a_model_with_adapters_in_it_is_not_converted(causal_lm: Any) -> None:
    """Their base weights would be left out, under the names that they have there."""
    model = causal_lm()
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(ValueError, match=r"adapters in it \(PEFT\).* merge_and_unload\(\)"):
        convert_weights(model, model.config.swap(mixer="linear()"))
