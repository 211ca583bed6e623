"""Models come back whole from disk, through Hugging Face's own loaders."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer
from formers.catalogue import CATALOGUE
from formers.computation import EarlyExit
from formers.memory import Memory
from formers.mixers import FeatureMap, Linear, Mixer
from formers.models.config import AXIS_OF
from formers.part import Part, Unsupported
from formers.positions import NoPosition

HEADS = {
    Transformer: AutoModel,
    CausalLM: AutoModelForCausalLM,
    MaskedLM: AutoModelForMaskedLM,
    SequenceClassifier: AutoModelForSequenceClassification,
    TokenClassifier: AutoModelForTokenClassification,
}


def first(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out = model.eval()(input_ids=ids)
    return out.last_hidden_state if isinstance(model, Transformer) else out.logits


def unsettled(model: Any) -> Any:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def same_after_loading(model: Any, loader: Any, ids: torch.Tensor, folder: Any) -> Any:
    model.save_pretrained(folder)
    assert (folder / "model.safetensors").exists()
    loaded, info = loader.from_pretrained(folder, output_loading_info=True)
    assert type(loaded) is type(model)
    assert not any(info.values()), info
    for parameter in loaded.parameters():
        parameter.data = parameter.data.clone()  # in a file weights begin anywhere, and products round accordingly
    assert torch.equal(first(loaded, ids), first(model, ids))
    for axis in AXIS_OF:
        assert getattr(loaded.config, axis) == getattr(model.config, axis)
    return loaded


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_every_head(head: Any, config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    mixers = ["linear(feature=taylor2)", "softmax(kv_heads=1)", "metric"]
    model = unsettled(
        head(config(mixer=mixers, depth=4, residual="danet", norm="max_norm(weight=after)", num_labels=5))
    )
    loaded = same_after_loading(model, HEADS[head], ids, tmp_path)
    assert loaded.config.num_labels == 5


def choice(part: Part) -> dict[str, Any]:
    if isinstance(part, FeatureMap):
        return {"mixer": Linear(feature=part)}
    axis = next(name for name, kind in AXIS_OF.items() if isinstance(part, kind))
    return {axis: part} | ({"position": NoPosition()} if isinstance(part, Mixer) else {})


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name())
def test_every_part(kind: Any, config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    bidirectional = not issubclass(kind, (Mixer, Memory, EarlyExit)) or "bidirectional" in kind.can
    head, loader = (MaskedLM, AutoModelForMaskedLM) if bidirectional else (CausalLM, AutoModelForCausalLM)
    same_after_loading(unsettled(head(config(depth=2, **choice(kind())))), loader, ids, tmp_path)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_tied_embeddings(tied: bool, config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    model = unsettled(CausalLM(config(tie_word_embeddings=tied)))
    loaded = same_after_loading(model, AutoModelForCausalLM, ids, tmp_path)
    for m in (model, loaded):
        assert (m.lm_head.weight.data_ptr() == m.model.embed_tokens.weight.data_ptr()) == tied
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) == (not tied)
    embedding = 29 * 24
    assert model.num_parameters() - CausalLM(config(tie_word_embeddings=True)).num_parameters() == (
        0 if tied else embedding
    )


def test_parameters_by_hand(config: Any) -> None:
    layer = 4 * 24 * 24 + (24 * 96 + 96) + (96 * 24 + 24) + 2 * (24 + 24)  # softmax, mlp, two norms
    assert CausalLM(config(depth=3)).num_parameters() == 29 * 24 + 3 * layer + (24 + 24)


def test_saved_in_bfloat16(config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    model = CausalLM(config(mixer="linear")).bfloat16()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(first(loaded, ids), first(model, ids))


def test_a_backbone_loads_into_a_head(config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    model = unsettled(Transformer(config(causal=False)))
    model.save_pretrained(tmp_path)
    loaded = SequenceClassifier.from_pretrained(tmp_path)
    assert torch.equal(first(loaded.model, ids), first(model, ids))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_a_model_card_loads_the_model(head: Any, config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    model = unsettled(head(config(mixer="linear(feature=taylor2)", position="none")))
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "import formers.models" in card
    assert "- mixer: `linear(feature=taylor2())`" in card
    code = card.split("```python")[1].split("```")[0].replace("path/to/this/folder", tmp_path.as_posix())
    names: dict[str, Any] = {}
    exec(code, names)
    assert torch.equal(first(names["model"], ids), first(model, ids))


def test_a_card_tells_many_mixers_by_their_layers(config: Any, tmp_path: Any) -> None:
    CausalLM(config(depth=6, mixer=["softmax()"] * 3 + ["linear()", "softmax()", "linear()"])).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "- mixer: `softmax()` in layers 0-2, 4, `linear()` in layers 3, 5\n" in card


def test_a_model_card_that_is_there_stays(config: Any, tmp_path: Any) -> None:
    (tmp_path / "README.md").write_text("mine")
    CausalLM(config()).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    CausalLM(config()).save_pretrained(tmp_path / "rank1", is_main_process=False)
    assert not (tmp_path / "rank1" / "README.md").exists()


LOADS = """
import sys
from transformers import AutoModelForCausalLM

def load():
    try:
        return AutoModelForCausalLM.from_pretrained(sys.argv[1])
    except ValueError as error:
        return error

print(type(load()).__name__)
import formers.models
print(type(load()).__name__)
"""


def test_transformers_finds_the_classes_only_after_an_import(config: Any, tmp_path: Any) -> None:
    CausalLM(config()).save_pretrained(tmp_path)
    words = [sys.executable, "-c", LOADS, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["ValueError", "CausalLM"], done.stderr


def test_a_folder_without_some_weights_is_an_error_for_every_loader(config: Any, tmp_path: Any) -> None:
    CausalLM(config()).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    for loader in (CausalLM, AutoModelForCausalLM, Transformer, AutoModel, SequenceClassifier):
        with pytest.raises(ValueError, match=r"norm\.weight is missing"):
            loader.from_pretrained(tmp_path)


def test_another_head_starts_anew_and_says_so(config: Any, ids: torch.Tensor, tmp_path: Any, caplog: Any) -> None:
    model = unsettled(MaskedLM(config(causal=False, tie_word_embeddings=False)))
    model.save_pretrained(tmp_path)
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.WARNING, "transformers"):
            loaded = SequenceClassifier.from_pretrained(tmp_path, num_labels=3)
    finally:
        logger.removeHandler(caplog.handler)
    assert torch.equal(first(loaded.model, ids), first(model.model, ids))
    assert "SequenceClassifier" in caplog.text, caplog.text
    assert "lm_head.weight" in caplog.text, caplog.text


def test_another_number_of_labels_is_an_error_unless_it_is_meant(config: Any, tmp_path: Any) -> None:
    SequenceClassifier(config(num_labels=5)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has the shape \(5, 24\) instead of \(3, 24\)"):
        SequenceClassifier.from_pretrained(tmp_path, num_labels=3)
    meant = SequenceClassifier.from_pretrained(tmp_path, num_labels=3, ignore_mismatched_sizes=True)
    assert meant.config.num_labels == 3


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("text", ["3", "[]", "{", "[" * 20_000, "\x00"])
def test_settings_that_are_none_are_named(name: str, text: str, config: Any, tmp_path: Any) -> None:
    CausalLM(config()).save_pretrained(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        CausalLM.from_pretrained(tmp_path)


def test_options_that_the_weights_do_not_fit_are_told_from_a_damaged_folder(config: Any, tmp_path: Any) -> None:
    CausalLM(config()).save_pretrained(tmp_path)
    for changes in ({"depth": 1}, {"depth": 3}, {"mixer": "softmax(kv_heads=1)"}, {"mixer": "metric()"}):
        with pytest.raises(ValueError, match=r"do not fit the options that were given .*convert_weights\(model"):
            CausalLM.from_pretrained(tmp_path, **changes)
    with pytest.raises(ValueError, match="do not fit the options"):
        AutoModelForCausalLM.from_pretrained(tmp_path, depth=1)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for load in (CausalLM.from_pretrained, AutoModelForCausalLM.from_pretrained):
        with pytest.raises(ValueError, match=r"do not fit its config\.json, .*copy the folder again"):
            load(tmp_path, dropout=0.0)


def test_a_misspelt_option_and_a_folder_that_is_not_there_are_named(config: Any, tmp_path: Any) -> None:
    CausalLM(config()).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"TransformerConfig has no option 'mixr'; did you mean 'mixer'\?"):
        CausalLM.from_pretrained(tmp_path, mixr="linear()")
    with pytest.raises(OSError, match=r"there is no folder .*none; give one that save_pretrained has written"):
        CausalLM.from_pretrained(tmp_path / "none")


@pytest.mark.parametrize(
    "name", ["sdpa", "flash_attention_2", "flex_attention", "kernels-community/flash-attn3", "none"]
)
def test_attention_functions_of_hugging_face_are_refused(name: str, config: Any, tmp_path: Any) -> None:
    model = CausalLM(config(mixer="linear()"))
    model.save_pretrained(tmp_path)
    refused = "has no effect in a CausalLM, whose tokens meet in its mixer, linear.*Leave attn_implementation out"
    for loader in (CausalLM, AutoModelForCausalLM):
        with pytest.raises(Unsupported, match=refused):
            loader.from_pretrained(tmp_path, attn_implementation=name)
    for given in (name, {"": name}):
        with pytest.raises(Unsupported, match=refused):
            model.set_attn_implementation(given)


def test_the_attention_function_that_changes_nothing_is_taken(config: Any, tmp_path: Any) -> None:
    CausalLM(config()).save_pretrained(tmp_path)
    CausalLM.from_pretrained(tmp_path, attn_implementation="eager").set_attn_implementation("eager")
