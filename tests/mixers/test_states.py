"""States: a mixer declares their types, refuses others, and takes its own wherever it was made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers.mixers import Linear, Mixer, Pool, Softmax, Sparse
from formers.mixers.mixer import MixerModule
from formers.part import Site, Unsupported
from formers.testing import build, tokens


class _Undeclared(Mixer):
    can = frozenset({"causal", "streaming"})

    def module(self, site: Site) -> MixerModule:
        return MixerModule(site)


def test_a_streaming_mixer_declares_its_states() -> None:
    with pytest.raises(TypeError, match="declares no type of state; set its `states`"):
        _Undeclared().build(Site(width=24, heads=3, causal=True))
    assert _Undeclared.can >= {"streaming"}


@pytest.mark.parametrize(("part", "other"), [(Linear(), Softmax()), (Softmax(), Pool()), (Sparse(), Linear())], ids=str)
def test_another_mixers_state_raises_with_both_types(part: Mixer, other: Mixer) -> None:
    own, foreign = (build(one, causal=True)(tokens())[1] for one in (part, other))
    with pytest.raises(TypeError) as caught:
        build(part, causal=True)(tokens(length=1), foreign)
    for word in (str(part), type(own).__name__, type(foreign).__name__, "None at the start"):
        assert word in str(caught.value)


def test_a_bidirectional_mixer_takes_no_state() -> None:
    _, state = build(Softmax(), causal=True)(tokens())
    with pytest.raises(ValueError, match="takes no state") as caught:
        build(Softmax(), causal=False)(tokens(), state)
    assert not isinstance(caught.value, Unsupported)


def test_outside_inference_mode_copies_only_what_it_must() -> None:
    module: Any = build(Softmax(), causal=True)
    with torch.no_grad():
        _, state = module(tokens())
    assert state.outside_inference_mode() is state
    with torch.inference_mode():
        _, inside = module(tokens())
        assert inside.outside_inference_mode() is inside
    outside = inside.outside_inference_mode()
    assert not outside.k_bgsk.is_inference()
    assert torch.equal(outside.k_bgsk, inside.k_bgsk)
