"""PEFT's learned prompts: sizes are found, generation equals recomputation, injected keys and values are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, TransformerConfig, Unsupported
from formers.models.cache import StateCache

peft = pytest.importorskip("peft", reason="PEFT is not installed: pip install peft")
MIXERS = ["softmax", "linear", "routing(window=4)", ["softmax", "lsh"]]
MASKS = [torch.ones(3, 13, dtype=torch.long), torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [0] * 2 + [1] * 11])]
PROMPTS = ["PromptTuningConfig", "PromptEncoderConfig"]
pytestmark = pytest.mark.filterwarnings("ignore:Position ids are not supported for parameter efficient tuning")


def prompted(model: CausalLM, kind: str) -> Any:
    """The model with four virtual tokens in front, away from their start."""
    prompted = peft.get_peft_model(model, getattr(peft, kind)(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for parameter in prompted.prompt_encoder.parameters():
            parameter.normal_()
    return prompted.double().eval()


def generate(model: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> torch.Tensor:
    torch.manual_seed(1)
    options = {"do_sample": False, "pad_token_id": 0} | options
    return model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=5, **options)


def by_hand(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    for _ in range(5):
        ids = torch.cat([ids, model(input_ids=ids, attention_mask=mask).logits[:, -1:].argmax(-1)], 1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    return ids


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_generation_after_a_prompt_is_recomputation(causal_lm: Any, ids: torch.Tensor, mixer: Any, kind: str) -> None:
    bare = causal_lm(mixer=mixer)
    without = generate(bare, ids, MASKS[0])
    model = prompted(bare, kind)
    for mask in MASKS:
        want = by_hand(model, ids, mask)
        assert torch.equal(generate(model, ids, mask), want)
        assert torch.equal(generate(model, ids, mask, use_cache=False), want)
        for options in ({"num_beams": 3}, {"do_sample": True, "top_k": 0}):
            want = generate(model, ids, mask, use_cache=False, **options)
            assert torch.equal(generate(model, ids, mask, **options), want)
    assert not torch.equal(by_hand(model, ids, MASKS[0]), without), "the prompt changes nothing"


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("mixer", ["softmax", "linear", "sparse"])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])  # more and fewer than the four of the prompt
def test_a_returned_cache_does_not_go_on(causal_lm: Any, ids: torch.Tensor, mixer: str, kind: str, count: int) -> None:
    """The cache holds four tokens that no sequence counts: another place to go on from would be taken in silence."""
    model, mask = prompted(causal_lm(mixer=mixer), kind), MASKS[1]
    out = generate(model, ids, mask, return_dict_in_generate=True)
    more = torch.cat([out.sequences, ids[:, :count]], 1)
    seen = torch.cat([mask, torch.ones(3, more.shape[1] - 13, dtype=torch.long)], 1)
    for given in (more, more[:, -count:]):
        with pytest.raises(Unsupported, match=r"learned prompt.*give the whole sequence without past_key_values"):
            generate(model, given, seen, past_key_values=out.past_key_values)
    assert torch.equal(generate(model, more, seen), by_hand(model, more, seen))
    assert torch.equal(generate(model, ids, mask, past_key_values=StateCache()), out.sequences)


@pytest.mark.parametrize("kind", [*PROMPTS, "PrefixTuningConfig"])
def test_sizes_are_found(causal_lm: Any, kind: str) -> None:
    config = prompted(causal_lm(), kind).active_peft_config
    assert (config.num_layers, config.token_dim, config.num_attention_heads) == (2, 24, 3)


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_prefix_tuning_is_refused(causal_lm: Any, ids: torch.Tensor, mixer: Any) -> None:
    model = prompted(causal_lm(mixer=mixer), "PrefixTuningConfig")
    for run in (lambda: model(input_ids=ids), lambda: generate(model, ids, MASKS[0])):
        with pytest.raises(Unsupported, match=r"keys and values.*prefix tuning.*use prompt tuning or LoRA"):
            run()


def test_only_the_prompt_trains(causal_lm: Any, ids: torch.Tensor) -> None:
    model = prompted(causal_lm(), "PromptTuningConfig").train()
    model(input_ids=ids, labels=ids).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        "prompt_encoder.default.embedding.weight"
    ]


def test_sizes_bear_hugging_face_names_beside_their_own(config: Any, tmp_path: Any) -> None:
    sizes = config()
    theirs = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "max_position_embeddings": 64}
    assert theirs.items() <= sizes.to_dict().items()
    assert TransformerConfig.from_dict(sizes.to_dict()).to_dict() == sizes.to_dict()
    sizes.save_pretrained(tmp_path)
    assert not any(name in (tmp_path / "config.json").read_text() for name in theirs)
    with pytest.raises(TypeError, match="hidden_size=32 was given, but width=24: they are one; give width alone"):
        config(hidden_size=32)
