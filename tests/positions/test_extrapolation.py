"""Every position beyond the trained length: a model takes it if the position says so, and else says why not."""

from __future__ import annotations

import pytest
import torch

from formers.catalogue import members
from formers.models import CausalLM, TransformerConfig
from formers.positions import Grid, Learned, Position

KINDS = [kind for kind in members(Position) if issubclass(kind, Position)]


def logits(position: Position, length: int) -> torch.Tensor:
    config = TransformerConfig(vocab_size=11, width=16, depth=1, heads=2, context_length=8, position=position)
    torch.manual_seed(0)
    with torch.inference_mode():
        return CausalLM(config).eval()(input_ids=torch.arange(length)[None] % 11).logits


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name())
def test_four_times_the_trained_length(kind: type[Position]) -> None:
    if not kind.extrapolates:
        position = Grid(rows=2, columns=4) if kind is Grid else kind()  # an image of 8 pixels
        with pytest.raises(ValueError, match=r"\b8 (positions|pixels)"):
            logits(position, 32)
        return
    found = logits(kind(), 32)
    assert found.isfinite().all()
    assert torch.allclose(found[:, :8], logits(kind(), 8), atol=1e-5)  # what comes later changes nothing before it


def test_a_copied_table_has_no_end() -> None:
    assert logits(Learned(beyond="copy"), 32).isfinite().all()
