"""States that nobody asks for are not made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers.catalogue import members
from formers.mixers import AdaptiveSpan, Linear, Mixer, Sparse, Taylor2, linear_mixer
from formers.mixers.linear_mixer import LinearMixer
from formers.mixers.sparse_state import SparseState
from formers.models import CausalLM, TransformerConfig
from formers.part import Site
from formers.patterns import Window

STREAMING = [part for kind in members(Mixer) if {"causal", "streaming"} <= (part := kind()).abilities]
SITE = Site(width=16, heads=2, causal=True, context_length=128)


def drawn() -> torch.Tensor:
    return torch.randn(2, 90, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("part", STREAMING, ids=str)
@pytest.mark.parametrize("padded", [False, True])
def test_outputs_are_the_same_without_a_state(part: Mixer, padded: bool) -> None:
    module: Any = part.build(SITE).eval()
    mask_bl = torch.arange(90) < torch.tensor([[90], [50]]) if padded else None
    with torch.no_grad():
        want, state = module(drawn(), mask_bl=mask_bl)
        got, none = module(drawn(), mask_bl=mask_bl, keep_state=False)
    assert state is not None
    assert none is None
    assert torch.equal(got, want)


class Asked(Exception):
    """A state was made."""


@pytest.mark.parametrize(
    ("part", "kind", "making"),
    [
        (Linear(feature=Taylor2()), LinearMixer, "sums_of_prefix"),
        (Sparse(pattern=Window(8)), SparseState, "keep"),
        (AdaptiveSpan(span=8), SparseState, "keep"),
        (AdaptiveSpan(span=8, dynamic=True), SparseState, "keep"),
    ],
    ids=str,
)
@pytest.mark.parametrize("computation", ["fixed", "universal", "act", "early_exit"])
def test_a_model_makes_states_for_a_cache_alone(
    monkeypatch: pytest.MonkeyPatch, part: Mixer, kind: type, making: str, computation: str
) -> None:
    def asked(*given: Any, **more: Any) -> None:
        raise Asked

    monkeypatch.setattr(kind, making, asked)
    monkeypatch.setattr(linear_mixer, "kernel_attention_reach", lambda *given, **more: 1 << 20)  # as on a GPU
    config = TransformerConfig(
        vocab_size=7, width=8, heads=4, depth=2, context_length=64, mixer=part, computation=computation
    )
    model = CausalLM(config)
    ids = torch.arange(64)[None] % 7
    with torch.no_grad():
        for mode in (model.train, model.eval):
            mode()(input_ids=ids, use_cache=False, output_hidden_states=True)
        with pytest.raises(Asked):
            model(input_ids=ids, use_cache=True)
