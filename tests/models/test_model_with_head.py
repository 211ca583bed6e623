"""Every head speaks Hugging Face's language."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from transformers import BertTokenizer

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer, Unsupported
from formers.testing import assert_same

EVERY_HEAD = pytest.mark.parametrize(
    "head", [CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer], ids=lambda h: h.__name__
)


@EVERY_HEAD
def test_every_head_speaks_hugging_face(head: Any, config: Any, ids: torch.Tensor) -> None:
    model = head(config()).double().eval()
    whole = model(input_ids=ids, output_hidden_states=True)
    assert len(whole.hidden_states) == 3, "what enters both layers, and the last"
    embedded = model(inputs_embeds=model.get_input_embeddings()(ids))
    assert_same(embedded[0], model(ids)[0], "output for embeddings instead of ids")
    as_tuple = model(input_ids=ids, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert_same(as_tuple[0], whole[0], "first of the tuple")
    assert_same(model(ids, position_ids=torch.arange(13)[None])[0], whole[0], "output with positions")
    with pytest.raises(Unsupported, match="no attention weights"):
        model(input_ids=ids, output_attentions=True)


@pytest.mark.parametrize("shape", [(13,), (1, 14), (3, 12), (4, 13), (1, 1, 13)], ids=str)
def test_positions_of_another_shape_are_refused(config: Any, ids: torch.Tensor, shape: tuple[int, ...]) -> None:
    assert ids.shape == (3, 13)
    with pytest.raises(ValueError, match=re.escape(f"position_ids has shape {shape}; expected (batch, length) = (3, ")):
        CausalLM(config())(ids, position_ids=torch.zeros(shape, dtype=torch.long))


@EVERY_HEAD
def test_every_head_takes_what_berts_tokenizer_gives(head: Any, config: Any, tmp_path: Any) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sits"]))
    tokenizer = BertTokenizer(str(words))
    model = head(config()).eval()
    texts = tokenizer(["a cat", "a cat sits"], padding=True, return_tensors="pt", return_token_type_ids=True)
    without = {name: value for name, value in texts.items() if name != "token_type_ids"}
    assert torch.equal(model(**texts)[0], model(**without)[0])
    pairs = tokenizer(["a cat"], ["sits"], return_tensors="pt", return_token_type_ids=True)
    assert pairs["token_type_ids"].any()
    with pytest.raises(Unsupported, match=r"no token types.*return_token_type_ids=False"):
        model(**pairs)


def test_generation_takes_token_types_of_zero(config: Any, ids: torch.Tensor) -> None:
    model = CausalLM(config()).eval()
    options = {"max_new_tokens": 4, "do_sample": False}
    given = model.generate(ids, token_type_ids=torch.zeros_like(ids), **options)
    assert torch.equal(given, model.generate(ids, **options))
    with pytest.raises(Unsupported, match="no token types"):
        model.generate(ids, token_type_ids=torch.ones_like(ids), **options)


def test_a_compiled_model_checks_token_types_when_it_runs(config: Any, ids: torch.Tensor) -> None:
    model = MaskedLM(config()).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert_same(compiled(ids, token_type_ids=torch.zeros_like(ids)).logits, model(ids).logits, "logits", 1e-4)
    with pytest.raises(RuntimeError, match="no token types"):
        compiled(ids, token_type_ids=torch.ones_like(ids))
