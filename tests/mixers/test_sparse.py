"""Mixers over patterns: what each of them sees, what they remember, and that published implementations agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from formers.mixers import (
    BigBird,
    BlockwiseAttention,
    Dense,
    ImageLocal,
    LocalDense,
    Longformer,
    Mixer,
    Softmax,
    Sparse,
    SparseTransformer,
)
from formers.models import TransformerConfig
from formers.part import Unsupported
from formers.patterns import (
    Blockwise,
    Chunk,
    Edges,
    Every,
    Fixed,
    Global,
    Listed,
    Local1D,
    Local2D,
    Neighbours,
    Pattern,
    Random,
    Strided,
    Window,
)
from formers.testing import CORE_LAWS, SITE, assert_same, build, check, tokens

TWO_LAYERS = "longformer(window=[4, 8], dilation=[1, 2], tokens=[0, 5], bias=True)"
VARIANTS = [
    "sparse(pattern=window(8) | global(3))",
    "sparse(per_head=[chunk(16), fixed(8), global(3)])",
    "sparse(pattern=random(1) | neighbours(8))",
    TWO_LAYERS,
    "bigbird(first=3)",
    "sparse_transformer(factors=merged)",
    "sparse_transformer(pattern=fixed(12), factors=merged, distinct=True)",
    "bigbird(per_head=True)",
    "image_local(pattern=local2d(128, 80, order=blocks))",
    "image_local(pattern=local2d(128, 80))",
]


@pytest.mark.parametrize("text", VARIANTS)
def test_other_options_keep_the_core_laws(text: str) -> None:
    check(Mixer.parse(text), site=replace(SITE, layers=2), only=CORE_LAWS)


@pytest.mark.slow
@pytest.mark.parametrize("text", [text for text in VARIANTS if text != TWO_LAYERS])
def test_other_options_keep_the_laws(text: str) -> None:
    check(Mixer.parse(text))


@pytest.mark.slow
def test_windows_of_two_layers_keep_the_laws() -> None:
    check(Mixer.parse(TWO_LAYERS), site=replace(SITE, layers=2))


def copied(module: Any, other: Any) -> Any:
    module.load_state_dict(other.state_dict())
    return module


@pytest.mark.parametrize("causal", [True, False])
def test_every_pair_is_softmax(causal: bool) -> None:
    theirs = build(Softmax(kv_heads=1, bias=True), causal=causal)
    module = copied(build(Sparse(pattern=Every(), kv_heads=1, bias=True), causal=causal), theirs)
    assert_same(module(tokens())[0], theirs(tokens())[0], "output")


def test_a_pattern_is_a_mixer() -> None:
    config = TransformerConfig(mixer=Window(16) | Global(0))
    assert config.mixer == Sparse(pattern=Window(16) | Global(0))
    assert TransformerConfig(mixer=["sparse(pattern=window(16) | global(0))"]).mixer == (config.mixer,)
    assert TransformerConfig.from_dict(config.to_dict()).mixer == config.mixer


def test_a_window_is_remembered_in_constant_space() -> None:
    module: Any = build(Sparse(pattern=Window(8) | Global(0)), causal=True)
    _, state = module(tokens(length=20))
    size = state.nbytes
    _, state = module(tokens(length=500, seed=1), state)
    assert state.nbytes == size
    assert state.index_bs[0].tolist() == [0, *range(513, 520)]


def test_what_cannot_stream_says_so() -> None:
    assert "streaming" in Sparse().abilities
    assert "streaming" not in Sparse(pattern=Random()).abilities
    assert build(Sparse(pattern=Random()), causal=True)(tokens())[1] is None


def test_which_patterns_the_mixers_have() -> None:
    two = replace(SITE, layer=1, layers=2)
    assert Longformer(window=(4, 8)).patterns(two) == (Window(8) | Global((0,)),)
    assert Longformer(window=(4, 8)).patterns(replace(two, layer=0)) == (Window(4) | Global((0,)),)
    assert Longformer(window=(4,), dilation=(1, 2), tokens=()).patterns(SITE) == (Window(4), Window(4, 2))
    assert BigBird(random=1).patterns(two) == (Neighbours(16) | Edges(16) | Random(1, layer=1),)
    assert BigBird(random=1, per_head=True).patterns(two) == tuple(
        Neighbours(16) | Edges(16) | Random(1, layer=1, head=head) for head in range(3)
    )
    assert SparseTransformer(pattern=Strided(8)).patterns(SITE) == (Strided(8, "local"), Strided(8, "columns"))
    assert SparseTransformer(pattern=Fixed(8), factors="layers").patterns(two) == (Fixed(8, factor="columns"),)
    assert SparseTransformer(pattern=Fixed(8, 4), distinct=True).patterns(replace(SITE, heads=6, width=48)) == (
        *(Fixed(8, 4, "local"), Fixed(8, 4, "columns", 0)),
        *(Fixed(8, 4, "local"), Fixed(8, 4, "columns", 1)),
    )
    assert SparseTransformer(pattern=Fixed(8, 4), factors="layers", distinct=True).patterns(two) == (
        Fixed(8, 4, "columns", 0),
        Fixed(8, 4, "columns", 1),
    )
    assert SparseTransformer(pattern=Fixed(6, 2), factors="merged", distinct=True).patterns(SITE) == (
        Fixed(6, 2),
        Fixed(6, 2, group=1),
        Fixed(6, 2, group=2),
    )
    assert BlockwiseAttention(blocks=3).patterns(SITE) == (
        Blockwise((0, 1, 2)),
        Blockwise((1, 2, 0)),
        Blockwise((2, 0, 1)),
    )
    assert ImageLocal(pattern=Local2D(8, 8)).patterns(SITE) == (Local2D(8, 8),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SparseTransformer(pattern=Window(3)), "strided"),
        (lambda: SparseTransformer(distinct=True), r"distinct is for fixed\(l, c\)"),
        (lambda: SparseTransformer(pattern=Fixed(8, group=1), distinct=True), "leave its own group out"),
        (lambda: ImageLocal(pattern=Window(3)), "local1d"),
        (lambda: Sparse(pattern=Window(3), per_head=(Window(2),)), "not both"),
        (lambda: Longformer(window=()), "at least 1"),
        (lambda: BlockwiseAttention(blocks=0), "at least 1"),
        (lambda: build(BlockwiseAttention(), causal=True), "blockwise_attention"),
    ],
)
def test_what_cannot_work_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize("shift", [0, 5])
def test_local_dense_is_dense_in_every_window(shift: int) -> None:
    module: Any = build(LocalDense(window=16, shift=shift, heads=2), causal=False)
    whole: Any = copied(build(Dense(heads=2), causal=False), module)
    x = tokens()
    pieces = [p for p in (x[:, :shift], *x[:, shift:].split(16, 1)) if p.shape[1]]
    want = torch.cat([whole(p)[0] * p.shape[1] / 16 for p in pieces], 1)
    assert_same(module(x)[0], want, "output")


def test_a_window_of_everything_is_local_dense_without_softmax() -> None:
    assert LocalDense(window=8).growth() == Sparse(pattern=Chunk(8)).growth() == 1


# --- published implementations ---


def loaded(module: Any, theirs: Any, names: dict[str, str]) -> Any:
    """The module with the weights of theirs and no output projection."""
    with torch.no_grad():
        for ours, name in names.items():
            getattr(module, ours).load_state_dict(getattr(theirs, name).state_dict())
        module.o_proj.weight.copy_(torch.eye(24))
        module.o_proj.bias.zero_()
    return module


@pytest.mark.parametrize("tokens_at", [(), (0,), (0, 3, 40)])
def test_longformer_of_hugging_face(tokens_at: tuple[int, ...]) -> None:
    pytest.importorskip("transformers")
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    window, length = 8, 48
    config = LongformerConfig(
        hidden_size=24, num_attention_heads=3, attention_window=[2 * window], attention_probs_dropout_prob=0.0
    )
    theirs = LongformerSelfAttention(config, layer_id=0).double().eval()
    names = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
    if tokens_at:
        names |= {"q_proj_global": "query_global", "k_proj_global": "key_global", "v_proj_global": "value_global"}
    module = loaded(build(Longformer(window=(window,), tokens=tokens_at, bias=True), causal=False), theirs, names)
    x = tokens(length=length)
    mask = torch.zeros(2, length, dtype=torch.float64)
    mask[:, list(tokens_at)] = 10000.0
    want = theirs(
        x, attention_mask=mask, is_index_masked=mask < 0, is_index_global_attn=mask > 0, is_global_attn=bool(tokens_at)
    )[0]
    assert_same(module(x)[0], want, "output", 1e-6)  # their softmax is in float32


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_few_global_tokens_of_longformer_need_no_projection_of_the_others(bias: bool, padded: bool) -> None:
    module: Any = build(Longformer(window=(8,), tokens=(0, 5), bias=bias), causal=False)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    x = tokens().requires_grad_()
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    mask[1, 30:] = mask[0, :9] = not padded
    inputs = [x, *module.parameters()]

    def run() -> list[torch.Tensor]:
        y = module(x, mask_bl=mask)[0]
        return [y, *torch.autograd.grad(y.square().sum(), inputs)]

    assert module.can_fold()
    folded = run()
    hook = module.k_proj_global.register_forward_hook(lambda *_: None)  # sees what is projected: now it has to be
    assert not module.can_fold()
    for one, other in zip(folded, run(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)  # the gradient of k's bias is rounding alone
    hook.remove()
    module.v_proj_global = torch.nn.Sequential(module.v_proj_global)  # as an adapter wraps it
    assert not module.can_fold()


def test_bigbird_of_hugging_face() -> None:
    pytest.importorskip("transformers")
    from transformers import BigBirdConfig
    from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel

    block, count = 4, 12
    config = BigBirdConfig(
        hidden_size=24,
        num_attention_heads=3,
        block_size=block,
        num_random_blocks=2,
        use_bias=True,
        attention_probs_dropout_prob=0.0,
    )
    theirs = (
        BigBirdBlockSparseAttention(config, seed=3).double().train()
    )  # in eval mode its random blocks are all block 0
    drawn: list[Any] = []
    original = theirs._bigbird_block_rand_mask_with_head

    def recorded(*args: Any, **options: Any) -> Any:
        drawn.append(original(*args, **options))
        return drawn[-1]

    theirs._bigbird_block_rand_mask_with_head = recorded
    x = tokens(length=block * count)
    masks = BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(2, block * count, dtype=torch.float64), block)
    blocked, band, from_mask, to_mask = masks
    want = theirs(x, band, from_mask, to_mask, blocked, blocked)[0]
    per_head = tuple(listed(rows.tolist(), block, count) for rows in drawn[0])
    names = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
    module = loaded(build(Sparse(per_head=per_head, bias=True), causal=False), theirs, names)
    assert_same(module(x)[0], want, "output", 1e-9)


def listed(drawn: list[list[int]], block: int, count: int) -> Listed:
    """Their window, first and last block, with the blocks that they drew for the rows in between."""
    everything = tuple(range(count))
    rows = [everything]
    for i in range(1, count - 1):
        rows.append(tuple(sorted({0, count - 1, i - 1, i, i + 1, *drawn[i - 1]})))
    return Listed(block, (*rows, everything))


def test_image_blocks_are_patterns() -> None:
    assert ImageLocal().pattern == Local1D(16, 32)


@pytest.mark.parametrize(
    "text", ["window(8) | global(0)", "~window(8)", "(window(8) & chunk(16)) | global(0)", "window(8)"]
)
def test_a_pattern_in_text_is_a_mixer(text: str) -> None:
    assert Mixer.parse(text) == Sparse(pattern=Pattern.parse(text))
    assert TransformerConfig(mixer=text).mixer == Sparse(pattern=Pattern.parse(text))


def test_a_wrong_pattern_in_text_says_so() -> None:
    with pytest.raises(ValueError, match="window"):
        Mixer.parse("window(-1)")
    with pytest.raises(ValueError, match="did you mean 'sparse'"):
        Mixer.parse("sparce(window(3))")
    with pytest.raises(ValueError, match="did you mean the pattern 'window'"):
        Mixer.parse("windw(3)")


@pytest.mark.parametrize(
    ("mixer", "why"),
    [
        ("longformer(window=[8, 16, 32])", "window lists 3 numbers, .* never be used with 2 layers"),
        ("longformer(dilation=[1, 2, 3, 4])", "dilation lists 4 numbers, .* never be used with 3 heads"),
        ("sparse_transformer(factors=heads)", "the model has one head"),
        ("sparse_transformer(pattern=fixed(32), distinct=True)", "distinct has no effect|one head"),
        ("sparse(per_head=[window(1), window(2), window(3), window(4)])", "per_head lists 4 .* with 3 heads"),
        ("blockwise_attention(shifted=3)", "3 heads are to take a permutation, .* the model has 3"),
    ],
)
def test_options_that_cannot_have_an_effect_here_are_refused(mixer: str, why: str) -> None:
    site = replace(SITE, layers=2, heads=1 if "transformer" in mixer else 3)
    with pytest.raises(Unsupported, match=why):
        Mixer.parse(mixer).build(site)
    Mixer.parse(mixer).build(replace(SITE, layers=3, heads=4))


@pytest.mark.parametrize(
    ("mixer", "causal", "why"),
    [
        ("window(3) | global([0, 64])", True, "token 64 is never there"),
        ("longformer(tokens=[64])", False, "token 64 is never there"),
        ("etc(tokens=64)", False, "64 tokens are all of the model's context_length"),
        ("bigbird(first=64)", True, "all tokens are at an end"),
        ("listed(32, [[0], [1], [2]])", False, "block 2 is never there"),
        ("span(4, ahead=2)", True, "ahead=2 has no effect in a causal model"),
        ("~window(1, dilation=2)", True, "dilation=2 has no effect"),
        ("longformer(dilation=[64])", False, "a token sees itself alone"),
        ("fixed(8, 2, factor=local)", False, "summary and group have no effect"),
        ("random(2, layer=1)", False, "layer=1 has no effect"),
        ("ends(8, last=8)", False, "all tokens are at an end"),
        ("ends(8, last=64)", False, "no token is at the end"),
        ("dense(order=scores)", True, "order has no effect"),
        ("routing(select=balanced, leaks=True)", False, "leaks is for a causal model"),
        ("routing(top=0, decay=0.5)", True, "decay have no effect where no head routes"),
        ("routing(local_heads=3, top=1)", True, "top have no effect where no head routes"),
        ("routing(top=2)", True, "top=2 layers are to route, but the model has 1"),
    ],
)
def test_options_that_cannot_have_an_effect_in_a_model_are_refused(mixer: str, causal: bool, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        Mixer.parse(mixer).build(replace(SITE, causal=causal, context_length=64))


@pytest.mark.parametrize("text", ["bigbird(random=0, seed=1)", "blockwise_attention(blocks=1, shifted=2)"])
def test_options_of_what_is_not_there_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="was given"):
        Mixer.parse(text)


def test_recomputed_attention_is_the_same_and_keeps_less() -> None:
    kept, gradients = [], []
    for recompute in (False, True):
        module = build(SparseTransformer(recompute=recompute), causal=True).train()
        x, count = tokens(2, 77).requires_grad_(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, c=count: (c.append(t.numel()), t)[1], lambda t: t):
            y, _ = module(x)
        kept.append(sum(count))
        gradients.append(torch.autograd.grad(y.square().sum(), [x, *module.parameters()]))
    assert kept[1] < kept[0] / 3
    for plain, again in zip(*gradients, strict=True):
        assert_same(again, plain, "gradient")
