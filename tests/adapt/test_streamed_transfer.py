"""What a streamed transfer teaches from is what a teacher computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, TransformerConfig
from formers.adapt.streamed_transfer import _HiddenStates

ENTRANCES: dict[str, dict[str, Any]] = {
    "bert": {"token_types": 2, "embedding_norm": "layer_norm()", "position": "learned()", "residual": "post_norm()"},
    "sinusoidal": {"position": "sinusoidal()", "dropout": 0.5},
    "concatenated": {
        "position": "sinusoidal(how=concatenate, width=8)",
        "token_types": 3,
        "tie_word_embeddings": False,
        "embedding_norm": "rms_norm()",
    },
    "rotary": {},
    "danet": {"residual": "danet()"},
}


@pytest.mark.parametrize("head", [CausalLM, MaskedLM])
@pytest.mark.parametrize("name", ENTRANCES)
def test_hidden_states_are_those_of_the_model(name: str, head: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 29, "width": 24, "depth": 2, "heads": 3, "context_length": 32, "initializer_range": 0.3}
    model = head(TransformerConfig(**sizes, **ENTRANCES[name])).train()
    ids = torch.randint(0, 29, (6, 13))
    stream = _HiddenStates(model, ids, tmp_path, bf16=False)
    with torch.no_grad():
        wanted = model(ids, output_hidden_states=True).hidden_states
    for layer in range(2):
        torch.testing.assert_close(stream.at(layer), wanted[layer])
