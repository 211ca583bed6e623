"""Softmax attention against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers.mixers import Softmax
from formers.mixers.heads import join_heads, split_heads
from formers.testing import assert_same, build, padding_mask, tokens


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both"])
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "whole"])
def test_multihead_attention_is_softmax(causal: bool, padded: bool) -> None:
    module: Any = build(Softmax(bias=True), causal=causal)
    theirs = nn.MultiheadAttention(24, 3, bias=True, batch_first=True, dtype=torch.float64).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([module.q_proj.weight, module.k_proj.weight, module.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([module.q_proj.bias, module.k_proj.bias, module.v_proj.bias]))
        theirs.out_proj.load_state_dict(module.o_proj.state_dict())
    x, mask = tokens(), padding_mask()
    mask = mask if padded else torch.ones_like(mask)
    hidden = torch.ones(77, 77, dtype=torch.bool).triu(1) if causal else None
    want, _ = theirs(x, x, x, attn_mask=hidden, key_padding_mask=~mask if padded else None, need_weights=False)
    got, _ = module(x, mask_bl=mask)
    assert_same(got[mask], want[mask], "output")


def test_grouped_heads_are_torchs() -> None:
    module: Any = build(Softmax(kv_heads=1), causal=True)
    q, k, v = (split_heads(p(tokens()), n) for p, n in ((module.q_proj, 3), (module.k_proj, 1), (module.v_proj, 1)))
    want = module.o_proj(join_heads(sdpa(q, k, v, is_causal=True, enable_gqa=True)))
    assert_same(module(tokens())[0], want, "output")


def test_heads_that_do_not_group_are_refused() -> None:
    with pytest.raises(ValueError, match="kv_heads must divide the 3 heads"):
        build(Softmax(kv_heads=2), causal=True)
