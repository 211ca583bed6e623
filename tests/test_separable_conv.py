"""Separable convolution as a feed-forward: by hand, where it streams not, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, TransformerConfig, Unsupported
from formers.ffn import SeparableConv
from formers.part import Site

IDS = torch.arange(12)[None] % 7


def config(**options: Any) -> TransformerConfig:
    sizes = {"vocab_size": 11, "width": 8, "depth": 2, "heads": 2, "context_length": 16, "ffn": "separable_conv()"}
    return TransformerConfig(**(sizes | options))


@pytest.mark.parametrize(("causal", "before"), [(True, 2), (False, 1)])
def test_a_filter_by_hand(causal: bool, before: int) -> None:
    site = Site(width=2, heads=1, causal=causal)
    module = SeparableConv(activation="identity", expand=1.0, down_kernel=1, bias=False).build(site)
    with torch.no_grad():
        for proj in (module.up_proj, module.down_proj):
            proj.weight.copy_(torch.eye(2))
        module.down_filter.weight.fill_(1.0)
        module.up_filter.weight.copy_(torch.tensor([[1.0, 0.0], [10.0, 0.0], [100.0, 1.0]]))
        y_bld = module(torch.tensor([[[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]]))
    padded = [0.0] * before + [1.0, 2.0, 3.0] + [0.0] * (2 - before)
    assert y_bld[0, :, 0].tolist() == [padded[i] + 10 * padded[i + 1] + 100 * padded[i + 2] for i in range(3)]
    assert y_bld[0, :, 1].tolist() == ([5, 6, 7] if causal else [6, 7, 0])


def test_filters_start_so_that_they_keep_the_size_of_their_input() -> None:
    torch.manual_seed(0)
    module = SeparableConv(up_kernel=9).build(Site(width=64, heads=1, causal=True))
    for start in (0.02, 0.3):
        module.up_filter.init_weights(start)
        y_nmd = module.up_filter(torch.randn(4, 200, 64))
        assert float(y_nmd[:, 9:].std()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("computation", ["fixed()", "universal()", "act()"])
def test_a_model_generates_without_states(computation: str) -> None:
    model = CausalLM(config(computation=computation)).eval()
    assert not model.streaming
    out = model.generate(IDS, max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert out.shape == (1, 15)
    with pytest.raises(Unsupported, match=r"separable_conv\(\) takes in neighbouring tokens, and keeps none"):
        model(IDS, use_cache=True)


def test_packed_documents_see_no_neighbours_of_others() -> None:
    model = MaskedLM(config(residual="post_norm")).eval()
    positions = torch.cat([torch.arange(5), torch.arange(7)])[None]
    together = model(IDS, position_ids=positions).logits
    alone = torch.cat([model(IDS[:, :5]).logits, model(IDS[:, 5:]).logits], 1)
    torch.testing.assert_close(together, alone)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="kernels must be odd in a bidirectional model"):
        MaskedLM(config(ffn="separable_conv(up_kernel=4)"))
    with pytest.raises(Unsupported, match=r"reversible\(\) makes the feed-forward again some tokens at a time"):
        CausalLM(config(residual="reversible"))
    with pytest.raises(ValueError, match="kernels must be at least 1"):
        SeparableConv(down_kernel=0)
    block = CausalLM(config()).model.layers[0]
    with pytest.raises(Unsupported, match="the feed-forward takes in neighbouring tokens and keeps none"):
        block.some_rows(torch.zeros(1, 1, 8), None, torch.arange(1))
