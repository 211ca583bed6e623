"""Adaptive spans: the mask, the penalty, what trimming saves, and what is reported."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from formers import CausalLM, MaskedLM, TransformerConfig, Unsupported
from formers.mixers import AdaptiveSpan
from formers.mixers.adaptive_span import AdaptiveSpanMixer
from formers.mixers.span_mask import folded, log_span_mask, visible_keys
from formers.ops import OperationCount, told
from formers.part import Site, collect_losses
from formers.positions import Shaw, Xl
from formers.testing import SITE, assert_same
from formers.testing.laws import (
    one_pass_equals_pieces,
    padding_does_not_matter,
    same_as_naive,
    same_as_reference,
    second_derivatives_are_right_or_refused,
)
from formers.testing.sites import POSITIONED

SHORT = AdaptiveSpan(span=40, ramp=8)
VARIANTS = [SHORT, AdaptiveSpan(span=2)]


def mixer_of(part: AdaptiveSpan, *, causal: bool = True, share: float | None = None) -> AdaptiveSpanMixer:
    """Return a mixer in float64 whose heads have the same share of the span."""
    torch.manual_seed(0)
    mixer: Any = part.build(Site(width=16, heads=2, causal=causal, context_length=4096)).double()
    if share is not None:
        nn.init.constant_(mixer.share_h, share)
    return mixer


def tokens(length: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize(
    "law", [same_as_naive, same_as_reference, one_pass_equals_pieces, padding_does_not_matter], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("fewest", [1, 1 << 14], ids=["by distance", "in blocks"])
def test_short_spans_keep_the_laws(part: AdaptiveSpan, law: Any, fewest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("formers.ops.attention.by_distance"), "FEWEST_PAIRS", fewest)
    law(part, SITE)


@pytest.mark.parametrize("place", ["heads", "scores", "weights"])
def test_positions_act_on_what_is_visible(place: Any) -> None:
    same_as_reference(SHORT, POSITIONED[place])
    one_pass_equals_pieces(SHORT, POSITIONED[place])


def test_the_mask_falls_over_the_ramp() -> None:
    z, x = torch.tensor([[[2.0], [0.5]]]), torch.arange(8)[None]
    mask = log_span_mask(z, torch.tensor([[7]]), x, 4, 8, causal=True).exp()[0, :, 0].flip(1)
    assert mask.tolist() == [[1, 1, 1, 0.75, 0.5, 0.25, 0, 0], [1, 0.875, 0.625, 0.375, 0.125, 0, 0, 0]]
    both = log_span_mask(z, torch.tensor([[3]]), x, 4, 8, causal=False).exp()[0, 0, 0]
    assert both.tolist() == [0.75, 1, 1, 1, 1, 1, 0.75, 0.5]
    cut = log_span_mask(z, torch.tensor([[7]]), x, 4, 4, causal=True).exp()[0, 0, 0].flip(0)
    assert cut.tolist() == [1, 1, 1, 0.75, 0, 0, 0, 0]
    later = log_span_mask(z, torch.tensor([[3]]), x, 4, 8, causal=True).exp()[0, 0, 0]
    assert later.tolist() == [0.75, 1, 1, 1, 0, 0, 0, 0]


def test_shares_are_mirrored_at_both_ends_and_never_stuck() -> None:
    share = torch.tensor([-0.25, 0.0, 0.5, 1.0, 1.25], requires_grad=True)
    value = folded(share)
    assert value.tolist() == [0.25, 0, 0.5, 1, 0.75]
    value.sum().backward()
    assert share.grad is not None
    assert share.grad.tolist() == [-1, 1, 1, 1, -1]


@pytest.mark.parametrize(("z", "visible"), [(0.0, 32), (0.5, 64), (31.9, 64), (32.1, 96), (4000.0, 100)])
def test_visible_keys_are_rounded_up_to_the_span(z: float, visible: int) -> None:
    assert visible_keys(torch.tensor([[[0.0], [z]]]), 32, 100) == visible
    assert visible_keys(torch.full((1, 1, 1), torch.nan), 32, 100) == 100


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_several_blocks_are_the_whole(causal: bool, share: float) -> None:
    """Blocks that see some of the keys give what one product over all pairs does, gradients too."""
    mixer, x = mixer_of(AdaptiveSpan(span=200, ramp=16), causal=causal, share=share), tokens(300, 2)
    found = []
    for queries in (128, 300):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("formers.mixers.adaptive_span._QUERIES", queries)
            if queries == 300:
                patch.setattr("formers.mixers.adaptive_span.visible_keys", lambda z, ramp, span: span)
            mixer.zero_grad()
            y = mixer(x)[0]
            y.square().sum().backward()
            found.append([y, *(p.grad.clone() for p in mixer.parameters())])
    for got, want in zip(*found, strict=True):
        assert_same(got, want, "output or gradient in blocks")


@pytest.mark.parametrize("causal", [True, False])
def test_operations_shrink_with_the_largest_span(causal: bool) -> None:
    """In training, too; blocks and the ramp come on top of a quarter of the span."""
    x, pairs = tokens(2048), {}
    for share in (0.25, 1.0):
        mixer = mixer_of(AdaptiveSpan(span=1024), causal=causal, share=share).float()
        nn.init.zeros_(mixer.share_h)
        nn.init.constant_(mixer.share_h[0], share)  # the longest head decides
        with OperationCount() as counted:
            mixer(x.float())[0].sum().backward()
        pairs[share] = counted.total
    assert pairs[0.25] < 0.5 * pairs[1.0]


def test_memory_shrinks_with_the_largest_span() -> None:
    sizes = [mixer_of(AdaptiveSpan(span=1024), share=share)(tokens(1024))[1].nbytes for share in (0.1, 1.0)]
    assert sizes[0] < 0.2 * sizes[1]
    _, state = mixer_of(AdaptiveSpan(span=1024, dynamic=True))(tokens(1500))
    assert state.k_bgsk.shape[2] == 1023


def test_steps_do_not_read_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = mixer_of(SHORT), tokens(50)
    _, state = mixer(x)
    monkeypatch.setattr("formers.mixers.adaptive_span.visible_keys", None)
    mixer(x[:, :1], state)


def test_on_a_device_that_is_waited_for_spans_of_all_layers_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, x = [mixer_of(AdaptiveSpan(span=400, ramp=8)) for _ in range(3)], tokens(50)
    layers[2].float()
    for layer in layers:
        layer(x.to(layer.share_h.dtype))
    monkeypatch.setattr("formers.mixers.adaptive_span.is_free_to_read", lambda t: False)
    with torch.no_grad():
        for layer, share in zip(layers, (0.2, 0.5, 0.5), strict=True):
            layer.share_h.fill_(share)
    layers[0](x)
    assert [told(layer.share_h, "visible") for layer in layers] == [96, 224, None]  # in float32, it is read alone
    layers[2](x.float())
    assert told(layers[2].share_h, "visible") == 224


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_penalty_is_the_mean_share(dynamic: bool) -> None:
    mixer = mixer_of(AdaptiveSpan(span=40, init=0.25, penalty=0.5, dynamic=dynamic)).train()
    x, mask = tokens(10, 2), torch.arange(10).expand(2, -1) >= torch.tensor([[3], [0]])
    with collect_losses() as losses:
        mixer(x, mask_bl=mask)
    shares = mixer.shares(x)
    want = shares.mean(1)[mask].mean() if dynamic else shares.mean()
    assert_same(losses.by_name()["span"], 0.5 * want, "penalty")
    with collect_losses() as losses:
        mixer.eval()(x)
        AdaptiveSpan(penalty=0.0).build(SITE).train()(torch.zeros(1, 4, 24))
    assert losses.by_name() == {}


def test_the_penalty_shortens_spans_and_the_task_lengthens_them() -> None:
    """The next token is the one 12 before it: without a reach of 12, there is nothing to learn."""
    spans = {}
    for penalty in (0.0, 10.0):
        torch.manual_seed(0)
        mixer = AdaptiveSpan(span=32, ramp=4, penalty=penalty, init=0.3)
        config = TransformerConfig(vocab_size=16, width=32, depth=1, heads=2, context_length=64, mixer=mixer)
        model = CausalLM(config).train()
        ids = torch.randint(0, 16, (16, 12)).repeat(1, 4)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            model(ids, labels=ids).loss.backward()
            optimizer.step()
        (spans[penalty],) = model.attention_spans().values()
    assert spans[0.0].max() > 0.3 * 32
    assert spans[10.0].max() < 2


def test_spans_are_reported_by_layer() -> None:
    mixers = [AdaptiveSpan(span=100, init=0.25), AdaptiveSpan(span=10, dynamic=True, init=0.5)]
    model = MaskedLM(TransformerConfig(vocab_size=9, width=8, depth=3, heads=2, mixer=mixers, context_length=16))
    with pytest.raises(Unsupported, match="input_ids"):
        model.attention_spans()
    found = model.attention_spans(input_ids=torch.zeros(1, 5, dtype=torch.long))
    assert list(found) == [f"model.layers.{i}.mixer" for i in range(3)]
    assert torch.equal(found["model.layers.0.mixer"], torch.tensor([25.0, 25.0]))
    assert_same(found["model.layers.1.mixer"], torch.tensor([5.0, 5.0]), "dynamic spans", 0.5)
    plain = MaskedLM(TransformerConfig(vocab_size=9, width=8, depth=1, heads=2))
    with pytest.raises(Unsupported, match=r"mixer=adaptive_span\(\)"):
        plain.attention_spans()


def test_options_are_checked() -> None:
    for options in ({"span": 1}, {"ramp": 0}, {"penalty": -1.0}, {"init": 1.5}, {"init": 0.0, "dynamic": True}):
        with pytest.raises(ValueError, match="adaptive_span"):
            AdaptiveSpan(**options)
    assert AdaptiveSpan(init=0.0).build(SITE).span == SITE.context_length


@pytest.mark.parametrize("position", [Shaw(clip=4), Xl()], ids=str)
def test_second_derivatives_reach_the_spans(position: Any) -> None:
    second_derivatives_are_right_or_refused(
        SHORT, Site(width=16, heads=2, causal=True, context_length=64, position=position)
    )
