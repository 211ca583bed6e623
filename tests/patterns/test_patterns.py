"""What patterns mean, in every form that they are written in."""

import json

import pytest
import torch

from formers.mixers import Mixer
from formers.ops.sparse_attention import block_lists
from formers.patterns import (
    Blockwise,
    Causal,
    Chunk,
    Edges,
    Either,
    EtcPattern,
    Fixed,
    Global,
    Listed,
    Local1D,
    Local2D,
    Pattern,
    Random,
    Span,
    Strided,
    Window,
    compose,
)


def test_text_python_and_json_are_one(pattern):
    assert Pattern.parse(str(pattern)) == pattern
    assert Pattern.from_json(json.loads(json.dumps(pattern.to_json()))) == pattern
    assert hash(Pattern.parse(str(pattern))) == hash(pattern)


@pytest.mark.parametrize(("rows", "keys"), [(200, 200), (128, 128), (77, 77), (50, 130), (1, 90), (130, 50)])
@pytest.mark.parametrize("causal", [False, True])
def test_layout_holds_every_pair_once(pattern, rows, keys, causal):
    resolved = pattern.resolve(length=keys, causal=causal)
    found = torch.zeros(rows, keys, dtype=torch.long)
    lists = block_lists(resolved, rows, keys, 16)
    for group in lists.groups:
        hidden = group.hidden_uls
        shape = (len(group.q_nl), group.q_nl.shape[1], group.k_ns.shape[1])
        seen = torch.ones(shape, dtype=torch.bool) if hidden is None else ~hidden[group.which_n]
        pairs = (group.q_nl[:, :, None].expand(shape)[seen], group.k_ns[:, None, :].expand(shape)[seen])
        found.index_put_(pairs, torch.tensor(1), accumulate=True)
    tokens = torch.arange(keys - rows, keys)[:, None]
    want = resolved.mask(tokens.clamp(min=0), torch.arange(keys)[None]).expand(rows, keys) & (tokens >= 0)
    assert torch.equal(found, want.long())
    assert lists.pairs == want.sum()


def test_bounds_are_true(pattern):
    """No block that is said to be empty has a pair, and none that is said to be full lacks one."""
    for causal in (False, True):
        resolved = pattern.resolve(length=96, causal=causal)
        starts = torch.arange(0, 96, 8)
        some, every = resolved.bounds(starts[:, None], starts[:, None] + 7, starts[None], starts[None] + 7)
        mask = resolved.mask(torch.arange(96)[:, None], torch.arange(96)[None]).expand(96, 96)
        blocks = mask.unflatten(0, (12, 8)).unflatten(2, (12, 8)).movedim(2, 1).flatten(2)
        assert not (blocks.any(2) & ~some).any()
        assert not (~blocks.all(2) & every).any()


def test_causal_forms_see_no_future(pattern):
    tokens = torch.arange(96)
    mask = pattern.resolve(length=96, causal=True).mask(tokens[:, None], tokens[None]).expand(96, 96)
    assert not mask.triu(1).any()


def test_memory_is_enough_and_bounded(pattern):
    """A causal model that forgets what `recalled` does not name forgets nothing that it would see."""
    if pattern.needs_length():
        return
    tokens = torch.arange(150)
    form = pattern.causal_form()
    mask = form.mask(tokens[:, None], tokens[None]).expand(150, 150)
    for now in range(150):
        kept = form.recalled(tokens[:now], torch.tensor(now)).expand(now)
        assert not mask[now:, :now][:, ~kept].any()
        assert form.memory() is None or kept.sum() <= form.memory()


def seen(pattern, length, causal=False):
    tokens = torch.arange(length)
    return pattern.resolve(length=length, causal=causal).mask(tokens[:, None], tokens[None]).expand(length, length)


def test_windows_count_as_documented():
    assert seen(Window(2), 9)[4].nonzero().flatten().tolist() == [2, 3, 4, 5, 6]
    assert seen(Window(2), 9, causal=True)[4].nonzero().flatten().tolist() == [3, 4]
    assert seen(Window(2, dilation=3), 13)[6].nonzero().flatten().tolist() == [0, 3, 6, 9, 12]
    assert seen(Span(1, 2), 9)[4].nonzero().flatten().tolist() == [3, 4, 5, 6]
    assert seen(Window(2) & Causal(), 9, causal=True).equal(seen(Window(2), 9, causal=True))


def test_chunks_and_shifted_chunks():
    assert [row.nonzero().flatten().tolist() for row in seen(Chunk(4), 6)[[0, 5]]] == [[0, 1, 2, 3], [4, 5]]
    shifted = seen(Chunk(4, shift=2), 8)
    assert [row.nonzero().flatten().tolist() for row in shifted[[0, 3, 7]]] == [[0, 1], [2, 3, 4, 5], [6, 7]]


def test_image_blocks():
    assert seen(Local1D(4, 3), 12)[9].nonzero().flatten().tolist() == [5, 6, 7, 8, 9, 10, 11]
    page = seen(Local2D(8, 8, block=2, halo=1), 64, causal=True)[27].unflatten(0, (8, 8))  # row 3, column 3
    want = torch.zeros(8, 8, dtype=torch.bool)
    want[1:3, 1:5] = True
    want[3, 1:4] = True
    assert torch.equal(page, want)


def test_image_blocks_one_after_the_other():
    """The last pixel of a rectangle sees all of it, and of the halo everything: it lies in earlier rectangles, but for
    what is to the right of it below the rectangle's top."""
    pattern = Local2D(8, 8, block=2, halo=1, order="blocks")
    order = torch.tensor(
        [(r + i) * 8 + c + j for r in (0, 2, 4, 6) for c in (0, 2, 4, 6) for i in (0, 1) for j in (0, 1)]
    )
    pixel = (order == 27).nonzero().item()  # row 3, column 3
    page = (
        torch.zeros(64, dtype=torch.bool)
        .index_copy(0, order, seen(pattern, 64, causal=True)[pixel])
        .unflatten(0, (8, 8))
    )
    want = torch.zeros(8, 8, dtype=torch.bool)
    want[1, 1:5] = True
    want[2:4, 1:4] = True
    assert torch.equal(page, want)
    in_rows = seen(pattern.swap(order="raster"), 64)
    assert torch.equal(seen(pattern, 64), in_rows[order][:, order])


@pytest.mark.parametrize("kind", [Strided(8), Fixed(8, 2)])
def test_two_sparse_layers_and_one_more_reach_everything(kind):
    """The Sparse Transformer's promise: p factors connect every i with every j ≤ i in p + 1 steps."""
    local, columns = (kind.swap(factor=factor) for factor in ("local", "columns"))
    past = torch.ones(64, 64, dtype=torch.bool).tril()
    a, b = seen(local, 64, causal=True), seen(columns, 64, causal=True)
    assert torch.equal(compose([a, b, a]), past) or torch.equal(compose([b, a, b]), past)
    assert not torch.equal(a, past)
    assert torch.equal(kind.reaches(64, 3, causal=True), past)


def test_reaches_and_density():
    assert torch.equal(Window(2).reaches(20, 3), seen(Window(6), 20))
    assert Global(0).reaches(20, 2).all()
    assert Window(4).density(100, causal=True) == pytest.approx((4 * 100 - 6) / 100**2)
    assert EtcPattern(3, 5).density(50) == seen(EtcPattern(3, 5), 50).float().mean()


@pytest.mark.parametrize("seed", [-(2**63), -1, 2_000_000, 2**63 - 1])
def test_every_whole_number_is_a_seed(seed: int) -> None:
    drawn = [Random(2, seed=seed, block=4, layer=layer).drawn(100, 50) for layer in range(5)]
    assert len(set(drawn)) == 5


def test_random_blocks_belong_to_seed_layer_and_length():
    one = Random(2, seed=1, block=4)
    assert one.resolve(length=64, causal=False) == one.resolve(length=64, causal=False)
    assert one.resolve(length=64, causal=False) != one.at_layer(1).resolve(length=64, causal=False)
    assert one.resolve(length=64, causal=False) != one.swap(seed=2).resolve(length=64, causal=False)
    assert (seen(one, 64).sum(1) == 8).all()
    heads = [one.swap(head=head).resolve(length=64, causal=False) for head in range(4)]
    assert len(set(heads)) == 4
    assert heads[0] == one.resolve(length=64, causal=False)
    Random(seed=2_000_000, layer=95, head=127).resolve(length=64, causal=False)
    short, long = seen(one, 40, causal=True), seen(one, 64, causal=True)
    assert torch.equal(short, long[:40, :40]), "a causal choice may not depend on what comes"
    assert (Window(2) | one).at_layer(3) == Window(2) | one.at_layer(3)


def test_blocks_grow_with_the_length():
    assert seen(Blockwise((1, 0)), 8)[0].nonzero().flatten().tolist() == [4, 5, 6, 7]
    assert seen(Blockwise((1, 0)), 7)[0].nonzero().flatten().tolist() == [4, 5, 6]
    assert seen(Edges(4), 10)[5].nonzero().flatten().tolist() == [0, 1, 2, 3, 8, 9]
    with pytest.raises(ValueError, match="depend on the length"):
        Blockwise((1, 0)).mask(torch.arange(4), torch.arange(4))


def test_brackets_only_where_needed():
    a, b, c = Window(1), Chunk(2), Causal()
    assert str((a | b) & ~c) == "(window(1) | chunk(2)) & ~causal()"
    assert str(a | b & c) == "window(1) | chunk(2) & causal()"
    assert str(a | (b | c)) == "window(1) | (chunk(2) | causal())"
    assert str(~(a & b)) == "~(window(1) & chunk(2))"
    assert Pattern.parse("window(128) | global(0)") == Either(Window(128), Global(0))
    assert Pattern.parse("window | global") == Window() | Global()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Blockwise((0, 0)), "permutation"),
        (lambda: Window(0), "at least 1"),
        (lambda: Chunk(4, shift=4), "below width"),
        (lambda: Global(-1), "counted from 0"),
        (lambda: Fixed(4, 5), "at most block"),
        (lambda: Fixed(8, 3, group=2), "groups 0 to 1 of 3 tokens"),
        (lambda: Local2D(8, 12, block=8, order="blocks"), "multiples of block"),
        (lambda: Local2D(4, 4).fits(17), "up to 16 tokens"),
        (lambda: Listed(4, ((-1,),)), "from 0 on"),
        (lambda: Window(wdith=3), "did you mean 'width'"),
        (lambda: Window(1, 2, 3), "takes 2 options"),
        (lambda: Pattern.parse("window(1) + window(2)"), "expected the end at character 11"),
        (lambda: Mixer.parse("softmax() | softmax()"), "a mixer has no"),
    ],
)
def test_what_cannot_work_is_refused(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        wrong()
