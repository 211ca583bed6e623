"""PEFT finds the projections by their names, and merging changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, TransformerConfig
from formers.catalogue import members
from formers.ffn import Glu
from formers.mixers import Mixer
from formers.testing import assert_same

peft = pytest.importorskip("peft", reason="the LoRA oracle is not installed: pip install peft")
MIXERS = [kind() for kind in members(Mixer) if "causal" in kind.can]


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_merged_equals_unmerged(mixer: Mixer) -> None:
    torch.manual_seed(0)
    position: Any = "none"
    config = TransformerConfig(vocab_size=17, width=24, depth=2, heads=3, mixer=mixer, position=position, ffn=Glu())
    model = CausalLM(config).double().eval()
    linear = [name for name, module in model.model.layers.named_modules() if isinstance(module, torch.nn.Linear)]
    assert all(name.endswith("_proj") for name in linear), "projections are named as PEFT expects"
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=r".*_proj", lora_dropout=0.0)).double()
    assert len([name for name, _ in lora.named_parameters() if "lora_A" in name]) == len(linear)
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
        ids = torch.randint(0, 17, (2, 33))
        unmerged = lora(input_ids=ids).logits
        with lora.disable_adapter():
            lora_off = lora(input_ids=ids).logits
        merged = lora.merge_and_unload()(input_ids=ids).logits
    assert not torch.allclose(unmerged, lora_off), "the adapters change nothing"
    assert_same(merged, unmerged, "logits after merging")


def test_only_adapters_train() -> None:
    model = CausalLM(TransformerConfig(vocab_size=17, width=24, depth=1, heads=3))
    lora = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    ids = torch.randint(0, 17, (2, 9))
    lora(input_ids=ids, labels=ids).loss.backward()
    trained = {name for name, p in lora.named_parameters() if p.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)
    assert lora.generate(input_ids=ids, max_new_tokens=3, do_sample=False).shape == (2, 12)
