"""The memory of Transformer-XL: shorter than the text, with every mixer and position that takes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from formers import CausalLM, MaskedLM, TransformerConfig, Unsupported
from formers.memory import NoMemory, Recurrent
from formers.memory.recurrent import RecurrentState
from formers.mixers import Linear, Metric, Mixer, Quadratic, Softmax, Sparse
from formers.models import StateCache
from formers.part import Site
from formers.positions import T5, Alibi, Cosine, Da, Position, Rotary, Shaw, Xl
from formers.testing import tokens
from formers.testing.references import reference_of

SITE = Site(width=24, heads=3, causal=True, context_length=128)
SIZES = (7, 1, 9, 4)
POSITIONS = [None, Xl(), Shaw(clip=4), T5(), Alibi(), Rotary(), Cosine(), Da()]
MIXERS = [Softmax(kv_heads=1), Quadratic(), Metric()]
CASES = [(Softmax(), position) for position in POSITIONS] + [
    (mixer, position) for mixer in MIXERS for position in (None, Xl(), Rotary())
]


def built(mixer: Mixer, site: Site, length: int) -> Any:
    torch.manual_seed(0)
    module = Recurrent(length=length).build(site, mixer.build(site)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def in_segments(module: Any, segments: Any, masks: Any = None) -> tuple[list[Tensor], Any]:
    state, ys = None, []
    for i, x in enumerate(segments):
        y, state = module(x, state, mask_bl=None if masks is None else masks[i])
        ys.append(y)
    return ys, state


@pytest.mark.parametrize("length", [1, 5, 8])
@pytest.mark.parametrize(("mixer", "position"), CASES, ids=str)
def test_a_short_memory_follows_the_formula(mixer: Mixer, position: Position | None, length: int) -> None:
    site = replace(SITE, position=position)
    if isinstance(position, Rotary) and isinstance(mixer, Metric):
        assert built(mixer, site, length)(tokens(length=3))[1].memory.v_bgmv is None  # made with gradients
    module = built(mixer, site, length)
    x = tokens(length=sum(SIZES), width=24)
    names, parameters = zip(*module.named_parameters(), strict=True)
    weight = tokens(length=sum(SIZES), width=24, seed=3)
    weights = {name: p.detach().clone().requires_grad_() for name, p in zip(names, parameters, strict=True)}
    positions = torch.arange(sum(SIZES)).unsqueeze(0)
    own = x.clone().requires_grad_()
    segments = own.split(SIZES, 1)
    want = torch.cat(reference_of(Recurrent())(Recurrent(length=length), site, weights, segments, positions, mixer), 1)
    expected = torch.autograd.grad((want * weight).sum(), [own, *weights.values()], allow_unused=True)
    x.requires_grad_()
    got = torch.cat(in_segments(module, x.split(SIZES, 1))[0], 1)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    found = torch.autograd.grad((got * weight).sum(), [x, *parameters], allow_unused=True)
    for name, a, b in zip(("x", *names), found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11, msg=name)
    with torch.no_grad():  # keys and values are kept
        again, state = in_segments(module, x.split(SIZES, 1))
        torch.testing.assert_close(torch.cat(again, 1), want, rtol=0, atol=1e-12)
        assert state.memory.k_bgmk.shape[2] == state.memory.x_bmd.shape[1] == length


@pytest.mark.parametrize("position", [None, Xl(), Rotary(), Shaw(clip=4)], ids=str)
def test_padding_takes_no_room(position: Position | None) -> None:
    module = built(Softmax(), replace(SITE, position=position), 5)
    x, mask = tokens(3, sum(SIZES), 24), torch.ones(3, sum(SIZES), dtype=torch.bool)
    mask[0, :3] = mask[1, 6:9] = mask[2, 12:] = False
    with torch.no_grad():
        filled = x.masked_fill(~mask.unsqueeze(2), torch.nan)
        ys, state = in_segments(module, filled.split(SIZES, 1), mask.split(SIZES, 1))
        for b in range(3):
            sizes = [int(part[b].sum()) for part in mask.split(SIZES, 1)]
            alone, end = in_segments(module, x[b : b + 1, mask[b]].split(sizes, 1))
            torch.testing.assert_close(torch.cat(ys, 1)[b, mask[b]], torch.cat(alone, 1)[0], rtol=0, atol=1e-12)
            kept = state.memory.mask_bm[b]
            torch.testing.assert_close(state.memory.x_bmd[b, kept], end.memory.x_bmd[0], rtol=0, atol=0)
            assert torch.equal(state.seen_b[b : b + 1], end.seen_b)


def test_rows_begin_anew() -> None:
    module = built(Softmax(), replace(SITE, position=Xl()), 6)
    x, more = tokens(2, 9, 24), tokens(2, 4, 24, seed=1)
    with torch.no_grad():
        _, state = module(x)
        y, after = module(more, state.reset(torch.tensor([False, True])))
        goes_on, begins = module(more, state)[0][0], module(more)[0][1]
        torch.testing.assert_close(y[0], goes_on, rtol=0, atol=1e-12)
        torch.testing.assert_close(y[1], begins, rtol=0, atol=1e-12)
        assert after.seen_b.tolist() == [13, 4]
        assert not torch.allclose(goes_on, begins)


def test_its_size_is_known() -> None:
    module = built(Softmax(), SITE, 10)
    with torch.no_grad():
        for tokens_seen in (4, 10, 25):
            state = module(tokens(2, tokens_seen, 24))[1]
            assert isinstance(state, RecurrentState)
            kept = min(tokens_seen, 10)
            assert state.nbytes == 2 * 8 + kept * 8 + 2 * kept * 3 * 24 * 8  # counts, positions shared; x, keys, values
    assert module(tokens(2, 25, 24))[1].nbytes == 2 * 8 + 10 * 8 + 2 * 10 * 24 * 8  # with gradients x alone
    assert (Recurrent(length=10).tokens(128), Recurrent(length=10).reach(6, 128)) == (10, 60)


def test_outputs_depend_on_length_times_layers() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "width": 16, "heads": 2, "depth": 3, "initializer_range": 0.5}
    model = CausalLM(TransformerConfig(**sizes, memory=Recurrent(length=4), position="xl")).double().eval()
    embedded = model.get_input_embeddings()(torch.randint(11, (1, 40))).detach()

    def last(embedded: Tensor) -> Tensor:
        cache = StateCache()
        with torch.no_grad():
            for segment in embedded[:, :38].split(2, 1):
                model(inputs_embeds=segment, past_key_values=cache)
            return model(inputs_embeds=embedded[:, 38:], past_key_values=cache).logits

    for at, matters in ((38 - 4 * 3 - 1, False), (38 - 4 * 3, True)):
        changed = embedded.index_add(1, torch.tensor([at]), tokens(1, 1, 16))
        assert (not torch.equal(last(changed), last(embedded))) == matters


@pytest.mark.parametrize("mixer", [Linear(), Sparse()], ids=str)
def test_a_mixer_whose_queries_have_keys_each_is_refused(mixer: Mixer) -> None:
    with pytest.raises(Unsupported, match=rf"recurrent.*cannot be added to {mixer.name()}.*softmax\(\)"):
        CausalLM(TransformerConfig(mixer=mixer, depth=1, position="none", memory="recurrent"))


def test_a_bidirectional_model_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"recurrent.*bidirectional"):
        MaskedLM(TransformerConfig(depth=1, memory="recurrent"))


def test_no_memory_leaves_a_mixer_as_it_is() -> None:
    mixer = Linear().build(SITE)
    assert NoMemory().build(SITE, mixer) is mixer
    assert mixer.memory is None


def test_lengths_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least 1, but 0"):
        Recurrent(length=0)
    with pytest.raises(TypeError, match="did you mean 'length'"):
        Recurrent(lenght=4)  # type: ignore[call-arg]
