"""The memory of the Compressive Transformer: what leaves, what it becomes, and what the compressor learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from formers import CausalLM, TransformerConfig
from formers.memory import Compressive, Recurrent
from formers.memory.compressors import CompressorName
from formers.memory.reconstruction import Compressed, attention_loss
from formers.mixers import Metric, Mixer, Quadratic, Softmax
from formers.mixers.context import Context
from formers.models import StateCache
from formers.part import Site, collect_losses
from formers.positions import T5, Alibi, Position, Rotary, Shaw, Xl
from formers.testing import tokens
from formers.testing.references import reference_of

SITE = Site(width=24, heads=3, causal=True, context_length=128)
SIZES = (9, 1, 1, 4, 7, 12, 1, 3)
BY: tuple[CompressorName, ...] = ("max_pool", "mean_pool", "conv", "dilated_conv", "most_used")
CASES: list[tuple[CompressorName, Mixer, Position | None]] = [
    *((by, Softmax(), None) for by in BY),
    *(("conv", Softmax(), position) for position in (Xl(), Rotary(), Shaw(clip=4), Alibi(), T5())),
    *(("dilated_conv", mixer, position) for mixer in (Metric(), Quadratic()) for position in (None, Rotary())),
    ("max_pool", Softmax(kv_heads=1), Xl()),
]


def built(part: Compressive, mixer: Mixer | None = None, site: Site = SITE) -> Any:
    torch.manual_seed(0)
    module = part.build(site, (mixer or Softmax()).build(site)).double().eval()
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


@pytest.mark.parametrize(
    "sizes", [{"length": 5, "compressed": 3, "rate": 3}, {"length": 4, "compressed": 9, "rate": 2}]
)
@pytest.mark.parametrize(("by", "mixer", "position"), CASES, ids=str)
def test_it_follows_the_formula(
    by: CompressorName, mixer: Mixer, position: Position | None, sizes: dict[str, int]
) -> None:
    site, part = replace(SITE, position=position), Compressive(by=by, **sizes)
    module = built(part, mixer, site)
    x = tokens(length=sum(SIZES), width=24)
    names, parameters = zip(*module.named_parameters(), strict=True)
    weights = {name: p.detach().clone().requires_grad_() for name, p in zip(names, parameters, strict=True)}
    own, positions = x.clone().requires_grad_(), torch.arange(sum(SIZES)).unsqueeze(0)
    want = torch.cat(reference_of(part)(part, site, weights, own.split(SIZES, 1), positions, mixer), 1)
    weight = tokens(length=sum(SIZES), width=24, seed=3)
    expected = torch.autograd.grad((want * weight).sum(), [own, *weights.values()], allow_unused=True)
    x.requires_grad_()
    got = torch.cat(in_segments(module, x.split(SIZES, 1))[0], 1)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    found = torch.autograd.grad((got * weight).sum(), [x, *parameters], allow_unused=True)
    for name, a, b in zip(("x", *names), found, expected, strict=True):
        assert (a is None) == (b is None) == ("compressor" in name), name
        if a is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-11, msg=name)
    for context in (torch.no_grad(), torch.inference_mode()):  # keys and values are kept
        with context:
            again, state = in_segments(module, x.split(SIZES, 1))
            torch.testing.assert_close(torch.cat(again, 1), want, rtol=0, atol=1e-12)
            assert part.length <= state.memory.size < part.length + part.rate
            assert state.compressed.size == part.compressed


def test_what_is_compressed_does_not_depend_on_the_cut() -> None:
    module, x = built(Compressive(length=5, compressed=4, rate=3)), tokens(length=40, width=24)
    with torch.no_grad():
        ends = [in_segments(module, x.split(sizes, 1))[1] for sizes in ((40,), (1,) * 40, (13, 20, 7))]
        by_hand = module.memory.compressor(x[:, :33].unflatten(1, (11, 3)), None)[:, -4:]
    for end in ends:  # 11 groups have left: 40 = 3 · 11 + 7
        assert (end.memory.size, end.compressed.size) == (7, 4)
        torch.testing.assert_close(end.memory.x_bmd, x[:, 33:], rtol=0, atol=0)
        torch.testing.assert_close(end.compressed.x_bmd, by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("position", [None, Xl()], ids=str)
def test_padding_takes_no_room(by: CompressorName, position: Position | None) -> None:
    module = built(Compressive(length=4, compressed=3, rate=2, by=by), site=replace(SITE, position=position))
    x, mask = tokens(3, sum(SIZES), 24), torch.ones(3, sum(SIZES), dtype=torch.bool)
    mask[0, :8] = mask[1, 14:19] = mask[1, 23:31] = mask[2, 20:] = False
    with torch.no_grad():
        filled = x.masked_fill(~mask.unsqueeze(2), torch.nan)
        ys, state = in_segments(module, filled.split(SIZES, 1), mask.split(SIZES, 1))
        for b in range(3):
            sizes = [int(part[b].sum()) for part in mask.split(SIZES, 1)]
            alone, end = in_segments(module, x[b : b + 1, mask[b]].split(sizes, 1))
            torch.testing.assert_close(torch.cat(ys, 1)[b, mask[b]], torch.cat(alone, 1)[0], rtol=0, atol=1e-12)
            for got, want in ((state.memory, end.memory), (state.compressed, end.compressed)):
                torch.testing.assert_close(got.x_bmd[b, got.real()[b]], want.x_bmd[0], rtol=0, atol=1e-12)


def test_rows_begin_anew_and_are_picked() -> None:
    module = built(Compressive(length=4, compressed=3, rate=2), site=replace(SITE, position=Xl()))
    x, more = tokens(2, 15, 24), tokens(2, 9, 24, seed=1)
    with torch.no_grad():
        _, state = module(x)
        y, after = module(more, state.reset(torch.tensor([False, True])))
        goes_on, begins = module(more, state)[0][0], module(more)[0][1]
        torch.testing.assert_close(y[0], goes_on, rtol=0, atol=1e-12)
        torch.testing.assert_close(y[1], begins, rtol=0, atol=1e-12)
        assert after.seen_b.tolist() == [24, 9]
        picked = module(more, state.reorder(torch.tensor([1, 1])))[0]
        torch.testing.assert_close(picked[1], module(more, state)[0][1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["attention", "autoencoding"])
@pytest.mark.parametrize("by", ["conv", "dilated_conv"])
@pytest.mark.parametrize("mixer", [Softmax(), Metric(), Quadratic()], ids=str)
def test_the_loss_reaches_the_compressor_and_only_it(mixer: Mixer, by: Any, loss: Any) -> None:
    site = replace(SITE, position=Rotary())
    module = built(Compressive(length=4, compressed=3, rate=2, by=by, loss=loss), mixer, site).train()
    x = tokens(length=20, width=24).requires_grad_()
    _, state = module(x[:, :8])
    with collect_losses() as losses:
        y, _ = module(x[:, 8:], state)
    assert list(losses.by_name()) == ["compression"]
    parameters = dict(module.named_parameters())
    total = losses.total()
    assert total is not None
    of_loss = torch.autograd.grad(total, [x, *parameters.values()], allow_unused=True, retain_graph=True)
    of_task = torch.autograd.grad(y.square().sum(), [x, *parameters.values()], allow_unused=True)
    for name, auxiliary, task in zip(("x", *parameters), of_loss, of_task, strict=True):
        is_compressor = name.startswith("memory.")
        assert (auxiliary is not None and bool(auxiliary.any())) == is_compressor, name
        assert (task is not None and bool(task.any())) == (not is_compressor), name
        assert name == "x" or task is not None, "processes that train together wait for a gradient of each weight"


@pytest.mark.parametrize("mixer", [Softmax(), Softmax(kv_heads=1), Metric()], ids=str)
def test_the_attention_loss_by_hand(mixer: Mixer) -> None:
    module = built(Compressive(), mixer)
    h, old, new = tokens(2, 5, 24), tokens(2, 12, 24, seed=1), tokens(2, 4, 24, seed=2)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    context = Context(h, torch.arange(7, 12).unsqueeze(0), mask)
    got = attention_loss(module, context, Compressed(old, new))

    def seen(memory: Tensor) -> Tensor:
        if isinstance(mixer, Metric):
            p, keys = (module.p_proj(t).unflatten(2, (3, 8)).transpose(1, 2) for t in (h, memory))
            return (p @ module.metric() @ keys.mT / 8**0.5).softmax(-1) @ keys
        q, k, v = (
            proj(t).unflatten(2, (-1, 8)).transpose(1, 2)
            for proj, t in ((module.q_proj, h), (module.k_proj, memory), (module.v_proj, memory))
        )
        return (q @ k.mT / 8**0.5).softmax(-1) @ v

    apart = (seen(old) - seen(new)).transpose(1, 2).flatten(2)[mask]
    torch.testing.assert_close(got, apart.square().mean(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["attention", "autoencoding"])
def test_a_compressor_learns(loss: Any) -> None:
    """Text in which every second token says nothing of its own: what a compressed token keeps can be learned."""
    torch.manual_seed(0)
    part = Compressive(length=4, compressed=8, rate=2, loss=loss)
    model = CausalLM(
        TransformerConfig(vocab_size=11, width=16, heads=2, depth=1, position="xl", memory=part, initializer_range=0.3)
    )
    compressors = [p for name, p in model.named_parameters() if ".memory." in name]
    optimizer = torch.optim.Adam(compressors, lr=0.01)
    values, cache = [], StateCache()
    for _ in range(60):
        ids = torch.randint(11, (8, 12))
        ids[:, 1::2] = 0
        with collect_losses() as losses:
            model(ids, past_key_values=cache)
        total = losses.total()
        if total is None:
            continue
        values.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert sum(values[-5:]) < 0.5 * sum(values[:5])


def test_the_loss_of_the_task_has_it_in_training_alone() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "width": 16, "heads": 2, "depth": 2, "initializer_range": 0.3}
    part = Compressive(length=4, compressed=8, rate=2)
    model = CausalLM(TransformerConfig(**sizes, position="xl", memory=part))
    ids, apart = torch.randint(11, (2, 12)), []
    for train in (True, False):
        cache = StateCache()
        model.train(train)
        with torch.no_grad():
            model(ids, past_key_values=cache)
        out = model(ids, past_key_values=cache, labels=ids)
        plain = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        apart.append((out.loss - plain).item())
    assert apart[0] > 1e-6
    assert apart[1] == pytest.approx(0, abs=1e-6)


def test_its_size_is_known() -> None:
    part = Compressive(length=10, compressed=6, rate=3)
    assert (part.tokens(128), part.reach(4, 128)) == (10 + 3 * 7 - 1, (10 + 18) * 4)
    module = built(part)
    with torch.no_grad():
        state = module(tokens(2, 200, 24))[1]
    kept = state.memory.size + 6
    assert state.nbytes == 2 * 8 + kept * 8 + 2 * kept * 3 * 24 * 8  # counts, positions shared; x, keys, values


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be at least 1, but 0"),
        ({"compressed": 0}, "compressed must be at least 1"),
        ({"rate": 1}, r"rate must be at least 2.*recurrent\(\)"),
        ({"by": "mean_pool", "loss": "attention"}, "by='mean_pool' has no weights to learn"),
        ({"by": "dilated_conv", "length": 2, "rate": 4}, "looks at 3 tokens behind"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Compressive(**options)


def test_a_model_starts_with_the_mean() -> None:
    sizes = {"vocab_size": 11, "width": 16, "heads": 2, "depth": 1, "position": "xl"}
    model = CausalLM(TransformerConfig(**sizes, memory=Compressive(rate=3)))
    compressor = model.model.layers[0].mixer.memory.compressor
    x = tokens(2, 6, 16, dtype=torch.float32).unflatten(1, (2, 3))
    torch.testing.assert_close(compressor(x, None), x.mean(2), rtol=0, atol=1e-6)
    plain = CausalLM(TransformerConfig(**sizes, memory=Recurrent()))
    assert model.num_parameters() - plain.num_parameters() == 3 * 16 * 16 + 16
