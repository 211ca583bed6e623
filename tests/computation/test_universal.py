"""One layer, many steps: weights, costs, the signal, and what cannot be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, TransformerConfig, Unsupported
from formers.computation import Universal
from formers.models import steps_taken

IDS = torch.arange(10)[None] % 7


def config(**options: Any) -> TransformerConfig:
    sizes = {"vocab_size": 11, "width": 8, "depth": 3, "heads": 2, "context_length": 16, "position": "none"}
    return TransformerConfig(**({"computation": "universal()"} | sizes | options))


def test_it_has_the_weights_of_one_layer_and_the_operations_of_all() -> None:
    shared, one, three = (
        MaskedLM(config(**options))
        for options in ({}, {"computation": "fixed()", "depth": 1}, {"computation": "fixed()"})
    )
    assert shared.state_dict().keys() == one.state_dict().keys()
    assert shared.num_parameters() == one.num_parameters() < three.num_parameters()
    assert shared.flops_per_token(10) == three.flops_per_token(10) > one.flops_per_token(10)
    assert shared.model.separate_layers() == []


def test_a_state_for_each_step() -> None:
    model = CausalLM(config()).eval()
    assert len(model(IDS, use_cache=True).past_key_values.layers) == 3
    same = CausalLM(config(computation="fixed()"))
    assert model.state_bytes(10) == same.state_bytes(10)


def test_blocks_take_turns() -> None:
    model = MaskedLM(config(computation="universal(blocks=2)", depth=5))
    calls: list[int] = []
    for i, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, i=i: calls.append(i))
    model(IDS)
    assert calls == [0, 1, 0, 1, 0]


def test_as_many_blocks_as_steps_and_no_signal_are_fixed() -> None:
    plain = MaskedLM(config(computation="fixed()")).eval()
    same = MaskedLM(config(computation="universal(blocks=3, position=none, time=none)")).eval()
    same.load_state_dict(plain.state_dict())
    assert torch.equal(same(IDS).logits, plain(IDS).logits)


def test_the_signal_by_hand() -> None:
    signal = MaskedLM(config()).model.computation.signal
    x = torch.zeros(1, 4, 8, dtype=torch.float64)
    got = signal(x, signal.encode(torch.tensor([[0, 1, 2, 9]]), x), 1)
    for row, i in enumerate((0, 1, 2, 9)):
        for m in range(4):
            slow = 10000 ** (2 * m / 8)
            assert got[0, row, 2 * m].item() == pytest.approx(math.sin(i / slow) + math.sin(2 / slow))
            assert got[0, row, 2 * m + 1].item() == pytest.approx(math.cos(i / slow) + math.cos(2 / slow))


def test_learned_signals_are_weights(tmp_path: Path) -> None:
    model = CausalLM(config(computation="universal(position=learned, time=learned)")).eval()
    names = {name for name, _ in model.named_parameters() if "signal" in name}
    assert names == {
        "model.computation.signal.position_table.table.weight",
        "model.computation.signal.time_table.weight",
    }
    model.save_pretrained(tmp_path)
    loaded = CausalLM.from_pretrained(tmp_path)
    assert loaded.config.computation == Universal(position="learned", time="learned")
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    with pytest.raises(ValueError, match="position 16 was asked for"):
        model(torch.zeros(1, 17, dtype=torch.long))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"residual": "reversible"}, r"universal\(\) adds a signal .* reversible\(\) could not undo"),
        ({"computation": "universal(blocks=4)"}, "blocks is 4, but the model takes depth=3 steps"),
        ({"mixer": ["softmax", "linear"]}, "makes 1 of 3 layers, but 2 mixers are to go round"),
        ({"mixer": "longformer(window=[2, 4])"}, "window"),
        ({"width": 9, "heads": 3}, "sinusoids need an even width"),
        ({"computation": "universal(blocks=0)"}, "blocks must be at least 1"),
    ],
    ids=str,
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedLM(config(**options))


def test_wirings_and_mixers_go_round(tmp_path: Path) -> None:
    for residual in ("post_norm", "danet", "gated"):
        model = CausalLM(
            config(residual=residual, mixer=["linear", "softmax"], computation="universal(blocks=2)")
        ).eval()
        whole = model(IDS).logits
        first = model(IDS[:, :4], use_cache=True)
        rest = model(IDS[:, 4:], past_key_values=first.past_key_values).logits
        torch.testing.assert_close(torch.cat([first.logits, rest], 1), whole)


def test_recomputing_and_hidden_states() -> None:
    model = CausalLM(config(dropout=0.1)).train()
    gradients = []
    for recompute in (False, True):
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(0)
        model.zero_grad()
        model(IDS, labels=IDS).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)
    assert len(model(IDS, output_hidden_states=True).hidden_states) == 4


def test_every_token_takes_all_steps() -> None:
    assert torch.equal(steps_taken(MaskedLM(config()), IDS), torch.full((1, 10), 3))
    with pytest.raises(Unsupported, match="reversible"):
        CausalLM(config(residual="reversible"))
