"""Other mixers in other layers: cycles over the layers, and windows that grow with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers.mixers import Dense, LocalDense, Longformer
from formers.models import MaskedLM, Transformer, TransformerConfig
from formers.patterns import Window
from formers.testing import tokens

WIDTH, LENGTH = 8, 48
DANET = [f"local_dense(window={WIDTH})", f"local_dense(window={WIDTH}, shift={WIDTH // 2})", "dense()"]
SOFTMAX = [f"sparse(pattern=chunk({WIDTH}))", f"sparse(pattern=chunk({WIDTH}, shift={WIDTH // 2}))", "softmax()"]


def model(mixer: Any, **choices: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "width": 24, "heads": 3, "depth": 6, "causal": False} | choices
    return Transformer(TransformerConfig(mixer=mixer, position="none()", **sizes)).double().eval()


def seen(made: Any, token: int) -> list[int]:
    """Which tokens the output of one depends on."""
    x = tokens(1, LENGTH).requires_grad_()
    y = made(inputs_embeds=x).last_hidden_state[0, token]
    (y * torch.arange(len(y))).sum().backward()  # weighted, as a layer norm's outputs always have the same sum
    assert x.grad is not None
    return x.grad[0].abs().amax(-1).nonzero().flatten().tolist()


def test_danets_cycle_goes_over_the_layers() -> None:
    made = model(DANET, residual="danet()", norm="max_norm()")
    parts = [layer.mixer.part for layer in made.layers]
    assert [type(part) for part in parts] == [LocalDense, LocalDense, Dense] * 2
    assert [part.shift for part in parts if isinstance(part, LocalDense)] == [0, WIDTH // 2] * 2


@pytest.mark.parametrize("cycle", [DANET, SOFTMAX], ids=["danet", "softmax"])
def test_local_shifted_and_global_layers_widen_what_is_seen(cycle: list[str]) -> None:
    """A token sees its window; then both that the shifted one touches; then everything."""
    options = {"residual": "danet()", "norm": "max_norm()"} if cycle is DANET else {}
    assert seen(model(cycle, depth=1, **options), 13) == list(range(8, 16))
    assert seen(model(cycle, depth=2, **options), 13) == list(range(8, 24))
    assert seen(model(cycle, depth=3, **options), 13) == list(range(LENGTH))


def test_danets_cycle_learns_and_saves(tmp_path: Any) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=11,
        width=24,
        heads=3,
        depth=3,
        mixer=DANET,
        residual="danet()",
        norm="max_norm()",
        position="cosine()",
    )
    made, ids = MaskedLM(config), torch.randint(11, (8, 32))
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = made(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    made.save_pretrained(tmp_path)
    assert torch.equal(MaskedLM.from_pretrained(tmp_path).eval()(ids).logits, made.eval()(ids).logits)


@pytest.mark.parametrize(
    ("windows", "depth", "want"),
    [
        ((4, 8), 6, [4, 4, 4, 8, 8, 8]),
        ((2, 4, 8), 6, [2, 2, 4, 4, 8, 8]),
        ((2, 4, 8, 16, 32, 64), 6, [2, 4, 8, 16, 32, 64]),
        ((2, 4), 5, [2, 2, 2, 4, 4]),
        ((7,), 3, [7, 7, 7]),
    ],
)
def test_longformers_windows_grow_from_the_lowest_layer_to_the_highest(
    windows: tuple[int, ...], depth: int, want: list[int]
) -> None:
    made = model(Longformer(window=windows, tokens=()), depth=depth)
    assert [layer.mixer.patterns[0].width for layer in made.layers] == want


def test_dilation_in_the_highest_layer_alone() -> None:
    made = model(["longformer(window=[4])"] * 5 + ["longformer(window=[4], dilation=[1, 2], tokens=[])"])
    assert [len(layer.mixer.patterns) for layer in made.layers] == [1] * 5 + [2]
    assert made.layers[-1].mixer.patterns == (Window(4), Window(4, 2))
