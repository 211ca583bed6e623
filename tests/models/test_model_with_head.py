"""Every head speaks Hugging Face's language."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer, Unsupported
from formers.testing import assert_same


@pytest.mark.parametrize(
    "head", [CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer], ids=lambda h: h.__name__
)
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
