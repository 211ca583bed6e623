"""Linformer: its formula, its ways of sharing, and its limits."""

import pytest
import torch

from formers import testing
from formers.mixers import Linformer
from formers.models import Transformer, TransformerConfig
from formers.part import Site, Unsupported

SITE = Site(width=12, heads=3, causal=False, context_length=20)
VARIANTS = [
    Linformer(length=5, share="none"),
    Linformer(length=5, share="kv"),
    Linformer(length=6, share="layerwise"),
    Linformer(length=7, kind="mean"),
    Linformer(length=5, kind="max"),
    Linformer(length=6, kind="conv"),
    Linformer(length=6, kind="conv", share="none"),
]


def published(module, x):
    """softmax(Q (E K)ᵀ/√K) (F V) with the first columns of E and F, head by head."""
    heads = []
    q, k, v = (project(x).unflatten(-1, (3, 4)) for project in (module.q_proj, module.k_proj, module.v_proj))
    e, f = module.key_length.weight, (module.value_length or module.key_length).weight
    for h in range(3):
        g = h if len(e) > 1 else 0
        k_h = torch.einsum("kl,blc->bkc", e[g, :, : x.shape[1]], k[:, :, h])
        v_h = torch.einsum("kl,blc->bkc", f[g, :, : x.shape[1]], v[:, :, h])
        heads.append((q[:, :, h] @ k_h.mT / 2).softmax(-1) @ v_h)
    return module.o_proj(torch.cat(heads, -1))


@pytest.mark.parametrize("share", ["none", "headwise", "kv", "layerwise"])
@pytest.mark.parametrize("length", [20, 13, 3])
def test_is_the_published_formula(share, length):
    module, x = Linformer(length=5, share=share).build(SITE).double(), torch.randn(2, length, 12).double()
    torch.testing.assert_close(module(x)[0], published(module, x))


def test_pools_and_convolutions_are_matrices_too():
    x = torch.randn(2, 20, 12)
    module = Linformer(length=5, kind="mean").build(SITE)
    windows = torch.eye(5).repeat_interleave(4, 1) / 4
    k = module.k_proj(x).unflatten(-1, (3, 4)).transpose(1, 2)
    torch.testing.assert_close(module.key_length(k, None), windows @ k)
    torch.testing.assert_close(
        module.key_length(k[:, :, :9], None)[:, :, 2], k[:, :, 8]
    )  # the last window holds one token
    assert Linformer(length=5, kind="max").build(SITE).key_length(k, None).equal(k.unflatten(2, (5, 4)).amax(3))


def test_layers_share_one_projection():
    config = TransformerConfig(vocab_size=9, width=12, depth=3, heads=3, mixer=Linformer(length=5, share="layerwise"))
    model = Transformer(config)
    assert [n for n in model.state_dict() if "length" in n] == ["layers.0.mixer.key_length.weight"]
    model(input_ids=torch.arange(9)[None]).last_hidden_state.square().sum().backward()
    assert model.layers[0].mixer.key_length.weight.grad.abs().sum() > 0


def test_layers_may_differ_and_a_model_saves_whole(tmp_path):
    mixer = [Linformer(length=5, share="layerwise"), Linformer(length=3, kind="conv")]
    model = Transformer(TransformerConfig(vocab_size=9, width=12, depth=4, heads=3, mixer=mixer)).eval()
    model.save_pretrained(tmp_path)
    again, ids = Transformer.from_pretrained(tmp_path).eval(), torch.arange(9)[None]
    assert torch.equal(again(input_ids=ids).last_hidden_state, model(input_ids=ids).last_hidden_state)


def test_what_cannot_be_says_so():
    with pytest.raises(Unsupported, match="causal"):
        Linformer().build(Site(width=12, heads=3, causal=True))
    with pytest.raises(ValueError, match="up to 20 tokens, but got 21"):
        Linformer().build(SITE)(torch.randn(1, 21, 12))
    with pytest.raises(ValueError, match="nothing to share"):
        Linformer(kind="mean", share="kv")


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_variants_keep_the_core_laws(part):
    testing.check(part, site=testing.SITE, only=testing.CORE_LAWS)


@pytest.mark.slow
@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_variants_keep_the_laws(part):
    broken = testing.broken_laws(part)
    if part.share in ("kv", "layerwise"):  # in one layer alone these two are the same, which this law objects to
        broken.pop("every_option_counts")
    assert broken == {}
