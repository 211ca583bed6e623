"""Types of tokens, poolers and the transform of a head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertTokenizer

from formers import CausalLM, MaskedLM, Seq2SeqConfig, SequenceClassifier, TokenClassifier, Transformer, Unsupported
from formers.models import convert_weights
from formers.testing import assert_same

TYPES = torch.tensor([[0] * 5 + [1] * 8]).expand(3, -1)
HEADS = [CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_a_type_adds_its_vector(head: Any, config: Any, ids: torch.Tensor) -> None:
    model = head(config(token_types=2, embedding_norm="layer_norm")).double().eval()
    backbone = model if head is Transformer else model.model
    table = backbone.token_types.table.weight
    assert table.shape == (2, 24)
    embedded = model.get_input_embeddings()(ids) + table[TYPES] - table[0]
    assert_same(model(ids, token_type_ids=TYPES)[0], model(inputs_embeds=embedded)[0], "types")
    assert_same(model(ids)[0], model(ids, token_type_ids=torch.zeros_like(TYPES))[0], "none given")
    assert not torch.equal(model(ids)[0], model(ids, token_type_ids=TYPES)[0])


def test_the_whole_output_of_a_tokenizer_is_taken(config: Any, tmp_path: Any) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sits"]))
    pairs = BertTokenizer(str(words))(["a cat", "a"], ["sits", "cat"], padding=True, return_tensors="pt")
    model = SequenceClassifier(config(token_types=2, pooler="tanh")).eval()
    assert pairs["token_type_ids"].any()
    whole = model(**pairs).logits
    assert not torch.equal(whole, model(**pairs | {"token_type_ids": torch.zeros_like(pairs["input_ids"])}).logits)


def test_generation_goes_on_with_the_last_type(config: Any, ids: torch.Tensor) -> None:
    model = CausalLM(config(token_types=2)).double().eval()
    types = TYPES.clone()
    options = {"max_new_tokens": 4, "do_sample": False}
    given = model.generate(ids, token_type_ids=types, **options)
    again = model.generate(ids, token_type_ids=types, use_cache=False, **options)
    assert torch.equal(given, again)


@pytest.mark.parametrize(
    ("types", "message"),
    [(TYPES + 1, "from 0 to 1: the model has token_types=2"), (TYPES[:, :4], r"shape \(3, 4\); expected.*\(3, 13\)")],
)
def test_other_types_are_refused(types: torch.Tensor, message: str, config: Any, ids: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedLM(config(token_types=2))(ids, token_type_ids=types)


def test_a_pooler_reads_the_first_real_token(config: Any, ids: torch.Tensor) -> None:
    model = Transformer(config(pooler="tanh")).double().eval()
    out = model(ids)
    assert_same(out.pooler_output, model.pooler.dense(out[0][:, 0]).tanh(), "pooled")
    padded = torch.cat([ids.new_zeros(3, 2), ids], 1)
    mask = torch.tensor([[0, 0] + [1] * 13]).expand(3, -1)
    assert_same(model(padded, attention_mask=mask).pooler_output, out.pooler_output, "padding on the left")
    classifier = SequenceClassifier(config(pooler="relu")).double().eval()
    hidden = classifier.model(ids).last_hidden_state
    assert_same(classifier(ids).logits, classifier.score(classifier.model.pooler.dense(hidden[:, 0]).relu()), "logits")


def test_a_masked_lm_with_a_transform_and_biases(config: Any, ids: torch.Tensor) -> None:
    model = MaskedLM(config(head_transform="gelu", head_bias=True)).double().eval()
    torch.nn.init.normal_(model.lm_head.bias)
    hidden = model.model(ids).last_hidden_state
    transformed = model.transform.norm(torch.nn.functional.gelu(model.transform.dense(hidden)))
    want = transformed @ model.model.embed_tokens.weight.T + model.lm_head.bias
    assert_same(model(ids).logits, want, "logits")
    made = convert_weights(model, model.config.swap(mixer="sparse(pattern=window(64))"), strict=True).model
    assert_same(made(ids).logits, want, "converted")


def test_files_of_models_without_them_stay_what_they_were(config: Any) -> None:
    newer = {"token_types", "pooler", "head_transform", "head_bias"}
    assert not newer & config().to_dict().keys()
    assert newer <= config(token_types=2, pooler="tanh", head_transform="gelu", head_bias=True).to_dict().keys()


def test_poolers_start_anew_where_a_file_has_none(config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    choices = {"pooler": "tanh", "token_types": 2}
    for saved, loaded in (
        (MaskedLM, SequenceClassifier),
        (SequenceClassifier, MaskedLM),
        (MaskedLM, Transformer),
        (Transformer, SequenceClassifier),
    ):
        folder = tmp_path / f"{saved.__name__}{loaded.__name__}"
        model = saved(config(causal=False, **choices)).eval()
        model.save_pretrained(folder)
        again = loaded.from_pretrained(folder)
        states = [(one if isinstance(one, Transformer) else one.model)(ids)[0] for one in (model, again)]
        assert torch.equal(*states)
        if (saved, loaded) == (Transformer, SequenceClassifier):
            assert torch.equal(again.model.pooler.dense.weight, model.pooler.dense.weight)


def test_models_that_cannot_have_them_say_so(config: Any) -> None:
    with pytest.raises(Unsupported, match="in a causal model"):
        SequenceClassifier(config(causal=True, pooler="tanh"))
    assert CausalLM(config(pooler="tanh")).model.pooler is None
    with pytest.raises(Unsupported, match="CausalLM has no head_transform"):
        CausalLM(config(head_transform="gelu"))
    for option in ({"token_types": 2}, {"pooler": "tanh"}, {"head_transform": "gelu"}):
        with pytest.raises(Unsupported, match="no effect here"):
            Seq2SeqConfig(**option)
    with pytest.raises(ValueError, match="pooler must be one of gelu"):
        config(pooler="tan")
    with pytest.raises(ValueError, match="token_types must be a whole number"):
        config(token_types=-1)
