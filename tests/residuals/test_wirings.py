"""Wirings against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import LayerNorm

from formers import CausalLM, Seq2SeqConfig, Seq2SeqLM, TransformerConfig, Unsupported
from formers.mixers import Identity
from formers.norms import LayerNorm as LayerNormPart
from formers.norms import MaxNorm, MaxNormModule
from formers.residuals import Danet, PostNorm, PreNorm, Residual
from formers.testing import SITE, assert_same, build, tokens

FORMULAS = {
    PreNorm(): lambda x, mix, ffn, n1, n2: (h := x + mix(n1(x))) + ffn(n2(h)),
    PostNorm(): lambda x, mix, ffn, n1, n2: n2((h := n1(x + mix(x))) + ffn(h)),
    Danet(): lambda x, mix, ffn, n1, n2: x + n2(ffn(mix(n1(x)))),
    Danet(out_norm=MaxNorm()): lambda x, mix, ffn, n1, n2: x + n2(ffn(mix(n1(x)))),
}


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both"])
@pytest.mark.parametrize("part", FORMULAS, ids=str)
def test_wiring(part: Residual, causal: bool) -> None:
    block: Any = build(part, causal=causal)

    def mix(x: Tensor) -> Tensor:
        return block.mixer(x)[0]

    want = FORMULAS[part](tokens(), mix, block.ffn, block.mixer_norm, block.ffn_norm)
    assert_same(block(tokens())[0], want, f"{part}")


@pytest.mark.parametrize("part", FORMULAS, ids=str)
def test_dropout_falls_on_the_branches_alone(part: Residual) -> None:
    block: Any = build(part, causal=True).train()
    block.dropout.p = 1.0
    x = tokens()
    want = block.ffn_norm(block.mixer_norm(x)) if part == PostNorm() else x
    assert_same(block(x)[0], want, f"{part} with every branch dropped")


def test_who_normalises_the_end() -> None:
    assert [part.normalizes_end for part in FORMULAS] == [True, False, True, True]


def test_danets_norms_may_differ() -> None:
    block: Any = build(Danet(out_norm=MaxNorm()), causal=True)
    assert isinstance(block.mixer_norm, LayerNorm)
    assert isinstance(block.ffn_norm, MaxNormModule)


def test_a_depth_scaled_start_shrinks_what_writes_to_the_stream() -> None:
    for scaled, factor in ((False, 1.0), (True, 8**-0.5)):
        torch.manual_seed(0)
        net = CausalLM(TransformerConfig(width=128, depth=4, heads=4, residual=PreNorm(depth_scaled=scaled)))
        for name, weight in net.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                assert weight.std().item() == pytest.approx(0.02 * factor, rel=0.03), name
            elif name.endswith("_proj.weight"):
                assert weight.std().item() == pytest.approx(0.02, rel=0.03), name
    decoder = Seq2SeqLM(
        Seq2SeqConfig(width=128, depth=4, encoder_depth=2, heads=4, residual=PreNorm(depth_scaled=True))
    )
    for name, weight in decoder.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            branches = 3 * 4 if ".decoder." in name else 2 * 2
            assert weight.std().item() == pytest.approx(0.02 * branches**-0.5, rel=0.03), name
    with pytest.raises(Unsupported, match="ends in a projection"):
        PreNorm(depth_scaled=True).build(SITE, Identity().build(SITE), torch.nn.Identity(), LayerNormPart())
