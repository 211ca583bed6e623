"""Relative positions against published code, against each pair by itself, and where they cannot go."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import XLNetConfig
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

from formers.mixers import Etc, Longformer, Metric, Mixer, Quadratic, Softmax, Sparse
from formers.models import CausalLM, TransformerConfig
from formers.ops import OperationCount
from formers.part import Site, Unsupported
from formers.patterns import Global, Window
from formers.positions import T5, Alibi, Da, Position, Shaw, Xl
from formers.positions.distances import Distances
from formers.positions.t5 import T5Position
from formers.testing import CORE_LAWS, SITE, assert_same, check
from formers.testing.laws import second_derivatives_are_right_or_refused
from formers.testing.references import reference_of

SPARSE = [Sparse(pattern=Window(9) | Global((0, 3))), Longformer(window=(7,), tokens=(0, 6)), Etc(tokens=5, radius=6)]


@pytest.mark.parametrize(("buckets", "reach"), [(32, 128), (8, 20), (64, 256), (32, 512), (16, 100)])
@pytest.mark.parametrize("causal", [False, True])
def test_buckets_are_t5s(buckets: int, reach: int, causal: bool) -> None:
    position = T5(buckets=buckets, reach=reach).build(Site(width=8, heads=2, causal=causal))
    assert isinstance(position, T5Position)
    ahead = torch.arange(-3000, 3001)
    want = T5Attention._relative_position_bucket(
        ahead, bidirectional=not causal, num_buckets=buckets, max_distance=reach
    )
    assert torch.equal(position.bucket(ahead), want)


@pytest.mark.parametrize("remembered", [0, 7])
def test_xl_is_xlnets(remembered: int) -> None:
    """The same weights give the same output, also where there are more keys than queries."""
    width, heads, length = 24, 3, 11
    site = Site(width=width, heads=heads, causal=True, position=Xl())
    ours, theirs = (
        Softmax().build(site).double(),
        XLNetRelativeAttention(XLNetConfig(d_model=width, n_head=heads, dropout=0.0)),
    )
    with torch.no_grad():
        for name in ("q", "k", "v", "o"):
            weight = getattr(ours, f"{name}_proj").weight
            given = weight if name == "o" else weight.T
            setattr(theirs, name, nn.Parameter(given.reshape(width, heads, -1)))
        theirs.r = nn.Parameter(ours.score_position.r_proj.weight.T.reshape(width, heads, -1))
        theirs.r_w_bias, theirs.r_r_bias = ours.score_position.content_hk, ours.score_position.distance_hk
        x_bld = torch.randn(2, remembered + length, width, dtype=torch.float64)
        _, state = ours(x_bld[:, :remembered]) if remembered else (None, None)
        got, _ = ours(x_bld[:, remembered:], state)
        q, k = torch.arange(length) + remembered, torch.arange(remembered + length)
        distances = torch.arange(len(k), -length, -1, dtype=torch.float64)
        angles = distances[:, None] * 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        r_nbd = torch.cat([angles.sin(), angles.cos()], -1)[:, None].expand(-1, 2, -1)
        heads_of = {name: torch.einsum("bid,dnk->ibnk", x_bld, getattr(theirs, name)) for name in "qkv"}
        hidden = (k > q[:, None]).double()[:, :, None, None]
        y = theirs.double().rel_attn_core(
            heads_of["q"][remembered:],
            heads_of["k"],
            heads_of["v"],
            torch.einsum("nbd,dhk->nbhk", r_nbd, theirs.r),
            attn_mask=hidden,
        )
        want = torch.einsum("ibnd,hnd->bih", y, theirs.o)
    assert_same(got, want, "output", 1e-12)


def test_layers_share_t5s_table() -> None:
    model = CausalLM(TransformerConfig(width=24, heads=3, depth=3, position=T5(), mixer=["softmax", "sparse"]))
    assert [name for name, _ in model.named_parameters() if "table" in name] == [
        "model.layers.0.mixer.score_position.table.weight"
    ]


PAIRS = [
    (SPARSE[0], Xl()),
    (SPARSE[0], Shaw(clip=4, values=False)),
    (SPARSE[1], Xl(clamp=5)),
    (SPARSE[1], T5(buckets=8, reach=20)),
    (SPARSE[2], Xl()),
    (Quadratic(), Shaw(clip=4, values=False)),
    (Quadratic(), Xl(clamp=5)),
    (Metric(), Xl()),
    (Metric(), T5(buckets=8, reach=20)),
]


@pytest.mark.parametrize(("mixer", "position"), [PAIRS[0], PAIRS[3], PAIRS[5], PAIRS[7]], ids=str)
def test_every_mixer_that_adds_to_scores_takes_terms_of_distances(mixer: Mixer, position: Position) -> None:
    check(mixer, site=replace(SITE, position=position), only=CORE_LAWS)


@pytest.mark.slow
@pytest.mark.parametrize(("mixer", "position"), PAIRS, ids=str)
def test_mixers_with_terms_of_distances_keep_the_laws(mixer: Mixer, position: Position) -> None:
    check(mixer, site=replace(SITE, position=position))


@pytest.mark.parametrize("position", [Da(), Shaw()], ids=str)
@pytest.mark.parametrize("mixer", [*SPARSE, Quadratic()], ids=str)
def test_mixers_that_form_no_weights_refuse_what_acts_on_them(mixer: Mixer, position: Position) -> None:
    site = Site(width=24, heads=3, causal=False, position=position)
    with pytest.raises(Unsupported, match="acts on attention weights") as error:
        mixer.build(site)
    assert str(position) in str(error.value)
    assert "xl()" in str(error.value)


@pytest.mark.parametrize("reach", [None, 0, 1, 3, 30])
def test_runs_are_read_as_single_pairs_are(reach: int | None) -> None:
    """The view by strides, and its transpose, equal looking every pair up, for any block of rows."""
    draw = torch.Generator().manual_seed(0)

    def size(below: int) -> int:
        return int(torch.randint(1, below, (), generator=draw))

    for _ in range(200):
        rows, keys, q_first, k_first = size(12), size(12), size(15), size(15)
        q_bl, k_bs = torch.arange(q_first, q_first + rows)[None], torch.arange(k_first, k_first + keys)[None]
        run = Distances.whole(q_bl, k_bs) if reach is None else Distances.clipped(q_bl, k_bs, reach)
        assert run is not None
        assert run.first is not None
        pairs = replace(run, first=None)
        start, shown = size(rows + 1) - 1, size(keys + 1)
        some, count = size(rows - start + 1), run.high - run.low + 1
        t_bhln = torch.randn(2, 3, some, count, generator=draw, dtype=torch.float64)
        read_bhln = t_bhln[..., run.window(start, some, shown)]
        w_bhls = torch.randn(2, 3, some, shown, generator=draw, dtype=torch.float64)
        assert torch.equal(run.spread(read_bhln, start, shown), pairs.spread(t_bhln, start, shown))
        assert_same(run.collect(w_bhls, start), pairs.collect(w_bhls, start), "sums", 1e-13)


@pytest.mark.parametrize("position", [Xl(), Shaw(), Shaw(values=False), T5(), Da(), Alibi()], ids=str)
def test_blocks_of_rows_are_the_whole(position: Position, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than one block of rows, as the laws' inputs are not: outputs and derivatives as in one."""
    module = Softmax(kv_heads=2).build(Site(width=32, heads=4, causal=True, position=position)).double()
    x_bld = torch.randn(2, 90, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def run() -> list[Tensor]:
        y_bld = module(x_bld)[0]
        return [y_bld, *torch.autograd.grad(y_bld.square().sum(), [x_bld, *module.parameters()])]

    want = run()
    monkeypatch.setattr(importlib.import_module("formers.ops.attention.query_blocks"), "SCORES_AT_ONCE", 1)
    second_derivatives_are_right_or_refused(
        Softmax(kv_heads=2), Site(width=24, heads=4, causal=True, position=position)
    )
    for got, whole in zip(run(), want, strict=True):
        assert_same(got, whole, "output or gradient", 1e-11 * max(1.0, float(whole.abs().max())))


@pytest.mark.parametrize("position", [Xl(), Xl(clamp=5), Shaw(), Shaw(clip=4, values=False), T5(), Alibi()], ids=str)
def test_tiles_by_distance_keep_the_laws(position: Position, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tokens by the hundred take them, which the laws' inputs are not."""
    monkeypatch.setattr(importlib.import_module("formers.ops.attention.by_distance"), "FEWEST_PAIRS", 1)
    check(Softmax(kv_heads=1), site=replace(SITE, position=position), only=CORE_LAWS)


@pytest.mark.parametrize("position", [Xl(), Alibi()], ids=str)
def test_transforms_go_through_blocks_of_rows(position: Position, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Softmax().build(Site(width=32, heads=4, causal=True, position=position)).double()
    x_bld = torch.randn(1, 90, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def loss(x_bld: Tensor) -> Tensor:
        y_bld: Tensor = module(x_bld)[0]
        return y_bld.square().sum()

    (want,) = torch.autograd.grad(loss(x_bld), x_bld)
    monkeypatch.setattr(importlib.import_module("formers.ops.attention.query_blocks"), "SCORES_AT_ONCE", 1)
    assert_same(torch.func.grad(loss)(x_bld.detach()), want, "gradient", 1e-11 * float(want.abs().max()))


def test_a_position_far_from_all_others_needs_no_long_table() -> None:
    """Where distances are clipped, a table has an entry for each that counts, wherever positions are."""
    q_bl, k_bs = torch.tensor([[0, 1, 10**9]]), torch.tensor([[0, 5, 10**9]])
    assert Distances.whole(q_bl, k_bs) is None
    far = Distances.clipped(q_bl, k_bs, reach=16)
    assert far.high - far.low + 1 == 33


@pytest.mark.parametrize("position", [Xl(), T5(), Shaw(values=False), Alibi()], ids=str)
def test_positions_over_a_pattern_cost_no_more_than_its_pairs(position: Position) -> None:
    """Twice the length is twice the work: tiles read the distances that they have, not all that there are."""

    def operations(length: int) -> int:
        site = Site(width=32, heads=2, causal=True, context_length=length, position=position)
        module, x_bld = Sparse(pattern=Window(16)).build(site), torch.randn(1, length, 32)
        with torch.no_grad(), OperationCount() as counted:
            module(x_bld)
        return counted.total

    assert operations(2048) < 2.2 * operations(1024)


def test_xl_makes_no_table_where_positions_lie_far_apart() -> None:
    """Position ids may be anything: the scores are those of the formula, in memory of what there is."""
    site = Site(width=24, heads=3, causal=False, position=Xl())
    module, x_bld = Softmax().build(site).double(), torch.randn(1, 5, 24, dtype=torch.float64)
    near, far = torch.arange(5)[None], torch.tensor([[0, 1, 2, 10**9, 10**9 + 1]])
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    for positions_bl in (near, far):
        want = reference_of(Softmax())(Softmax(), site, weights, x_bld, positions_bl)
        assert_same(module(x_bld, positions_bl=positions_bl)[0], want, "output", 1e-6 if positions_bl is far else 1e-12)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        T5(buckets=6)
    with pytest.raises(ValueError, match="reach more than half"):
        T5(buckets=32, reach=16)
    with pytest.raises(ValueError, match="clip must be at least 1"):
        Shaw(clip=0)
    with pytest.raises(ValueError, match="clamp must be at least 1"):
        Xl(clamp=0)
    with pytest.raises(ValueError, match="make it even"):
        Xl().build(Site(width=15, heads=3, causal=True))
