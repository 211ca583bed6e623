"""Options and sequences at and beyond their limits: a clear error, or a defined result."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import Any, get_args, get_origin

import pytest
import torch

from formers.catalogue import CATALOGUE
from formers.mixers import (
    BigBird,
    BlockwiseAttention,
    Dense,
    ImageLocal,
    Linformer,
    LocalDense,
    Longformer,
    Mixer,
    Routing,
    Softmax,
    Sparse,
)
from formers.part import Part, alternatives, option_hints
from formers.patterns import PATTERNS, Chunk, Ends, Every, Global, Local1D, Local2D, Outside, Pattern, Window
from formers.testing import assert_finite, assert_same, assert_zero, build, directions, padding_mask, tokens
from formers.testing.laws import lengths_do_not_depend_on_padding, no_tokens_are_taken

KINDS: list[type[Part]] = [kind for kind in CATALOGUE if issubclass(kind, Mixer)] + list(Pattern.kinds())
SHORT = tokens(length=20)


def mixer_of(part: Part) -> Mixer:
    return Sparse(pattern=part) if isinstance(part, Pattern) else part


def extremes(hint: Any, name: str) -> list[Any]:
    """Values at the limits of whole numbers, and of lists of them."""
    kinds = alternatives(hint)
    large = [] if name == "rounds" else [1000]  # Reformer's time grows with the square of its rounds
    lists = any(get_origin(kind) is tuple and get_args(kind)[0] is int for kind in kinds)
    return ([0, -1, *large] if int in kinds else []) + ([(), (0,), (-1,), (1000,)] if lists else [])


def runs(part: Part, x: torch.Tensor) -> None:
    """Whatever is not refused gives numbers."""
    for causal in directions(mixer_of(part)):
        with torch.no_grad(), contextlib.suppress(ValueError):
            y, _ = build(mixer_of(part), causal=causal)(x)
            assert_finite(y, f"{part}, {'causal' if causal else 'both'}")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_extreme_options_are_refused_or_give_numbers(kind: type[Part]) -> None:
    hints = option_hints(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        for value in extremes(hints[field.name], field.name):
            with contextlib.suppress(ValueError):
                runs(kind(**{field.name: value}), SHORT)


@pytest.mark.parametrize(
    "part",
    [
        Longformer(tokens=(0, 6)),
        Sparse(pattern=Window(3) | Global(6)),
        ImageLocal(pattern=Local2D(4, 5, 2, 1)),
        ImageLocal(pattern=Local2D(4, 2, 2, 1)),
        *[Linformer(length=4, kind=kind) for kind in ("mean", "max", "conv")],
    ],
    ids=str,
)
def test_length_limits_do_not_depend_on_padding(part: Mixer) -> None:
    lengths_do_not_depend_on_padding(part)
    no_tokens_are_taken(part)


@pytest.mark.parametrize("causal", [True, False])
def test_more_tokens_than_an_image_has_are_refused_padded_too(causal: bool) -> None:
    module = build(ImageLocal(pattern=Local2D(4, 4)), causal=causal)
    x, mask_bl = tokens(2, 20), torch.ones(2, 20, dtype=torch.bool)
    mask_bl[:, 16:] = False
    assert_same(module(x, mask_bl=mask_bl)[0][:, :16], module(x[:, :16])[0], "an image with padding behind it")
    mask_bl[1, 16] = True
    for given in ({}, {"mask_bl": mask_bl}):
        with pytest.raises(ValueError, match=r"local2d\(4, width=4\) is for up to 16 tokens, but \d+ were given"):
            module(x, **given)


def test_a_state_ends_with_its_image() -> None:
    module, x = build(ImageLocal(pattern=Local2D(4, 4)), causal=True), tokens(2, 17)
    _, state = module(x[:, :10])
    assert module(x[:, 10:16], state)[1] is not None
    with pytest.raises(ValueError, match=r"local2d\(4, width=4\) is for up to 16 tokens, but 17 were given"):
        module(x[:, 10:], state)


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_short_sequences_are_refused_or_give_numbers(kind: type[Part], length: int) -> None:
    runs(kind(), tokens(length=length))


@pytest.mark.parametrize("name", ["kv_heads", "sigma", "decay"])
def test_what_is_no_number_is_refused(name: str) -> None:
    part = {"kv_heads": "softmax", "sigma": "rfa", "decay": "routing"}[name]
    for value in (float("nan"), float("inf")):
        with pytest.raises(TypeError, match=f"{name} must be"):
            Mixer.parse(part).swap(**{name: value})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Dense(init=-1),
        lambda: LocalDense(init=-1),
        lambda: Routing(top=-1),
        lambda: Ends(-1),
        lambda: Ends(1, -1),
    ],
)
def test_less_than_nothing_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        wrong()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    "mixer",
    [
        Sparse(pattern=Window(100)),
        Sparse(pattern=Window(100, dilation=1) | Global(0)),
        Sparse(pattern=Chunk(100)),
        Longformer(window=(100,), tokens=()),
        BigBird(block=100, random=0),
        ImageLocal(pattern=Local1D(100, 0)),
    ],
    ids=str,
)
def test_a_window_beyond_the_sequence_is_everything(mixer: Mixer, causal: bool) -> None:
    theirs = build(Softmax(), causal=causal)
    module = build(mixer, causal=causal)
    module.load_state_dict(theirs.state_dict())
    assert_same(module(SHORT)[0], theirs(SHORT)[0], "output")


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pattern", [Outside(Every()), Window(2) & ~Window(5), Outside(Window(30))], ids=str)
def test_queries_without_keys_give_zeros(pattern: Pattern, causal: bool) -> None:
    """As `sparse_attention` says: zeros, and nothing of them in any gradient."""
    module = build(Sparse(pattern=pattern), causal=causal)
    x = SHORT.clone().requires_grad_()
    y, _ = module(x)
    assert_zero(y, "output")
    y.sum().backward()
    assert_zero(x.grad, "gradient")


def test_some_queries_without_keys_leave_the_others_alone() -> None:
    module = build(Sparse(pattern=Outside(Window(12))), causal=False)  # the tokens in the middle see nothing
    y, _ = module(SHORT)
    assert_zero(y[:, 7:13], "middle")
    assert (y[:, :7].abs().amax(2) > 0).all()


def test_a_global_token_that_is_not_there() -> None:
    """A sequence that ends before it has none, alone or in a batch; a causal one may still come to it."""
    part = Sparse(pattern=Window(3) | Global(40))
    for causal in (True, False):
        near, module = (build(one, causal=causal) for one in (Sparse(pattern=Window(3)), part))
        module.load_state_dict(near.state_dict())
        assert_same(module(SHORT)[0], near(SHORT)[0], "output before the global token")
    for kind in (part, Longformer(window=(3,), tokens=(40,))):
        module, mask = build(kind, causal=False), padding_mask(2, 77)
        mask[1, 35:] = False
        alone = build(Sparse(pattern=Window(3)), causal=False)
        alone.load_state_dict({name: t for name, t in module.state_dict().items() if "global" not in name})
        y, _ = module(tokens(), mask_bl=mask)
        assert_same(y[1:], alone(tokens()[1:], mask_bl=mask[1:])[0], "a row that is too short for its global token")


def test_blocks_that_nobody_means_and_heads_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks must be at least 1 and at most 65,536"):
        BlockwiseAttention(blocks=10**9)
    with pytest.raises(ValueError, match="heads are to take a permutation"):
        build(BlockwiseAttention(shifted=2**62), causal=False)


@pytest.mark.parametrize("kind", PATTERNS, ids=lambda kind: kind.__name__)
def test_large_numbers_in_a_pattern_cost_nothing(kind: type[Pattern]) -> None:
    """What is farther than the sequence is long has no storage: such a number takes no time, and no memory."""
    hints = option_hints(kind)
    for field in fields(kind):  # type: ignore[arg-type]
        for number in (10**9, 2**31):
            with contextlib.suppress(ValueError, TypeError):
                mixer = Sparse(pattern=kind(**{field.name: number}))
                for causal in directions(mixer):
                    build(mixer, causal=causal)(SHORT)
        if int in alternatives(hints[field.name]) and field.name != "seed":
            with pytest.raises(ValueError, match=r"at most|at least|must|may|there are"):
                kind(**{field.name: 2**62})


def test_a_state_grows_with_the_tokens_up_to_a_wide_window() -> None:
    wide, module = build(Softmax(), causal=True), build(Sparse(pattern=Window(10**9)), causal=True)
    module.load_state_dict(wide.state_dict())
    state, ys = None, []
    for piece in SHORT.split([7, 1, 12], 1):
        y, state = module(piece, state=state)
        ys.append(y)
    assert_same(torch.cat(ys, 1), wide(SHORT)[0], "output in pieces")
