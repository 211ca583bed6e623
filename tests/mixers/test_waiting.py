"""Nothing in a forward pass, a backward pass or a decoding step waits for the device.

A CPU stands for a GPU here: it is said to be one that is waited for, FlexAttention runs as it is defined, and whatever
would read a tensor's numbers raises. What is read once of a mask, of positions or of a weight has been read before.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from formers import CausalLM, TransformerConfig
from formers.catalogue import CATALOGUE
from formers.computation import Act
from formers.mixers import Linformer, Longformer, Sparse
from formers.mixers.documents import GlobalMask
from formers.ops.bucketed_attention import tiled
from formers.ops.common import readable
from formers.ops.common.dispatch import Form
from formers.ops.sparse_attention import flex
from formers.part import Site
from formers.patterns import Global, Listed, Window
from formers.testing import abilities, build, directions, padding_mask, sites_of, tokens

PARTS = [
    *(kind() for kind in CATALOGUE),
    Linformer(kind="mean"),
    Linformer(kind="max"),
    Sparse(pattern=Window(4) | Global(tuple(range(9)))),
    Sparse(pattern=Listed(block=4, rows=((0,), (0, 1), (0, 2)))),
]
WAITING = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "lift_fresh"}
"""Operations after which the host knows numbers, or that send it some: lists, as `torch.tensor` takes them."""


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = getattr(operator, "overloadpacket", operator).__name__
        assert name not in WAITING, f"{name} waits for the device"
        return operator(*args, **(kwargs or {}))


@contextmanager
def no_waiting(monkeypatch):
    def tolist(t):
        raise AssertionError("tolist waits for the device")

    with monkeypatch.context() as patch, NoWaiting():
        patch.setattr(torch.Tensor, "tolist", tolist)
        yield


def plain_flex(q, k, v, use, *, block_mask, score_mod, scale, enable_gqa):
    """Return what FlexAttention is defined to, asking every pair."""
    (batch, heads, rows, _), keys = q.shape, k.shape[2]
    k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    at = torch.meshgrid(*(torch.arange(n) for n in (batch, heads, rows, keys)), indexing="ij")
    s = q @ k.mT * scale
    s = (s if score_mod is None else score_mod(s, *at)).masked_fill(~block_mask.mask_mod(*at), -torch.inf)
    dead = (s == -torch.inf).all(3, keepdim=True)
    return s.masked_fill(dead, 0).softmax(3).masked_fill(dead, 0) @ v


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    forms = importlib.import_module("formers.ops.sparse_attention.sparse_attention")._FORMS
    monkeypatch.setattr(readable, "_FREE", frozenset())
    monkeypatch.setattr(tiled, "should_tile", lambda t: False)
    monkeypatch.setattr(flex, "flex_kernel", plain_flex)
    monkeypatch.setitem(forms.forms, "flex", Form("flex", flex.sparse_attention))
    monkeypatch.setitem(forms.preference, "cpu", ("flex", "gathered"))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_no_pass_and_no_step_waits(part, training, monkeypatch):
    site = sites_of(part)[0]
    for causal in directions(part):
        module, x = build(part, causal=causal, site=site).train(training), tokens(width=site.width)
        positions = torch.arange(x.shape[1])[None]
        masks = [None, padding_mask()] if "padding" in abilities(part) else [None]

        def run(mask, module=module, x=x, at=positions, causal=causal):
            y, state = module(x.clone().requires_grad_(), mask_bl=mask, positions_bl=at)
            y.sum().backward()
            if causal and state is not None and not isinstance(part, Act):  # which reads if all have stopped, to stop
                with torch.no_grad():
                    for _ in range(2):
                        _, state = module(x[:, :1], state)

        for mask in masks:
            run(mask)  # what is read and made once
            with no_waiting(monkeypatch):
                run(mask)


def test_global_tokens_of_rows_are_counted_once(monkeypatch):
    mixers = [Longformer().build(Site(width=16, heads=2, causal=False)) for _ in range(3)]
    global_bl = torch.rand(2, 20, generator=torch.Generator().manual_seed(0)) < 0.2
    mask = GlobalMask(torch.arange(20) < torch.tensor([[20], [13]]), global_bl)
    x = torch.randn(2, 20, 16)
    mixers[0](x, mask_bl=mask)
    with no_waiting(monkeypatch):
        for mixer in mixers[1:]:
            mixer(x, mask_bl=mask)
    monkeypatch.undo()
    fresh = GlobalMask(*(t.clone() for t in mask))
    torch.testing.assert_close(mixers[2](x, mask_bl=mask)[0], mixers[2](x, mask_bl=fresh)[0])


def test_what_changes_is_read_again():
    t = torch.arange(4)
    assert readable.read_once(t, "most", lambda t: int(t.max())) == 3
    t[0] = 9
    assert readable.read_once(t, "most", lambda t: int(t.max())) == 9
    assert readable.read_once(t, "least", lambda t: int(t.min())) == 1


def test_what_was_told_of_a_tensor_holds_until_it_changes():
    t = torch.arange(4)
    assert readable.told(t, "most") is None
    readable.tell(t, "most", 3)
    assert readable.told(t, "most") == readable.read_once(t, "most", lambda t: 4) == 3
    assert readable.told(t.clone(), "most") is None
    t[0] = 9
    assert readable.told(t, "most") is None


@pytest.mark.parametrize("mixer", ["performer(redraw=3)", "rfa(redraw=3)", "linear()"])
def test_training_steps_of_a_model_do_not_wait(mixer, monkeypatch):
    sizes = {"vocab_size": 11, "width": 16, "depth": 2, "heads": 2, "context_length": 20}
    model = CausalLM(TransformerConfig(mixer=mixer, position="learned()", **sizes)).train()
    optimizer, ids = torch.optim.SGD(model.parameters(), lr=0.1), torch.arange(10).expand(2, 10)

    def step():
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # the count of steps until the next draw is read once
    with no_waiting(monkeypatch):
        for _ in range(4):
            step()
    with pytest.raises(ValueError, match=r"learned\(\) knows 20 positions, but position 20"):
        model(input_ids=torch.zeros(1, 21, dtype=torch.long))
