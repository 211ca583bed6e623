"""States: a mixer declares their types, refuses others, and takes its own wherever it was made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch

from formers.memory.fifo import Fifo
from formers.mixers import Linear, Mixer, Pool, Softmax, Sparse
from formers.mixers.kv_cache import KeyValueState, append
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


def _end_of_cache(state: KeyValueState | None, k: torch.Tensor) -> KeyValueState:
    return append(state, k, None, mask_bl=None, positions_bl=None)


def _end_of_fifo(state: Fifo | None, k: torch.Tensor) -> Fifo:
    return Fifo(k, k) if state is None else state.followed_by(Fifo(k, k))


@pytest.mark.parametrize("after", [_end_of_cache, _end_of_fifo])
def test_threads_that_go_on_from_one_state_do_not_meet(after: Any) -> None:
    """Storage has space behind the state: both would find it free, and write there."""
    news = [torch.full((1, 8, 400, 64), float(i)) for i in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            shared = after(after(None, torch.zeros(1, 8, 600, 64)), torch.zeros(1, 8, 1, 64))
            together = Barrier(2)
            ends = [*threads.map(lambda new: (together.wait(), after(shared, new))[1], news)]  # noqa: B023
            for end, new in zip(ends, news, strict=True):
                assert torch.equal(end.k_bgsk[:, :, 601:], new)
