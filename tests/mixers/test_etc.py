"""ETC: its four pieces and its labels against the published definition, written out densely, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from formers.mixers import Etc, Softmax, Sparse
from formers.mixers.heads import split_heads
from formers.models import Transformer, TransformerConfig
from formers.part import Unsupported
from formers.patterns import Window
from formers.testing import CORE_LAWS, SITE, assert_same, build, check, padding_mask, tokens

HEADS, WIDTH = SITE.heads, SITE.head_width
PARTS = [
    Etc(tokens=5, radius=6, clip=3),
    Etc(tokens=5, radius=6, clip=0, segment=9, bias=True),
    Etc(tokens=1, radius=0),
    Etc(tokens=5, radius=4, clip=2, segment=9, hard=True),
]


def label(part: Etc, i: int, j: int) -> int:
    """The number of the vector of a pair, from the words of the definition."""
    n, k = part.tokens, part.clip
    distance = max(-k, min(k, j - i)) + k
    if i >= n and j >= n:
        return distance
    if i < n and j < n:
        return 2 * k + 1 + distance
    first = 2 * (2 * k + 1)
    if part.segment is None:
        return first if i < n else first + 1
    one, other = (i, j) if i < n else (j, i)
    own = n + one * part.segment <= other < n + (one + 1) * part.segment
    return first + (0 if i < n else 2) + own


def scores(module: Any, part: Etc, q: Tensor, k: Tensor, rows: range, columns: range) -> Tensor:
    """q_i·(k_j + a_ℓ)/√K of one head, (rows, columns); the head is the last axis of the vectors given."""
    found = torch.empty(len(rows), len(columns), dtype=q.dtype)
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            found[a, b] = q[i] @ (k[j] + module[:, label(part, i, j)]) / WIDTH**0.5
    return found


def published(module: Any, part: Etc, x_ld: Tensor) -> Tensor:
    """One sequence, head by head: g2g with g2l in one softmax, l2g with l2l in another."""
    length, n = len(x_ld), part.tokens
    global_input, long_input = range(n), range(n, length)
    q, k, v = (split_heads(getattr(module, name)(x_ld[None]), HEADS)[0] for name in ("q_proj", "k_proj", "v_proj"))
    out = []
    for h in range(HEADS):
        vectors = module.labels.key_hkc[h]
        g2g = scores(vectors, part, q[h], k[h], global_input, global_input)
        g2l = scores(vectors, part, q[h], k[h], global_input, long_input)
        l2g = scores(vectors, part, q[h], k[h], long_input, global_input)
        l2l = scores(vectors, part, q[h], k[h], long_input, long_input)
        at = torch.arange(length - n)
        l2l = l2l.masked_fill((at[:, None] - at).abs() > part.radius, -torch.inf)
        if part.hard and part.segment is not None:
            g2l = g2l.masked_fill(at // part.segment != torch.arange(n)[:, None], -torch.inf)
        y_g = torch.cat([g2g, g2l], 1).softmax(1) @ v[h]
        y_l = torch.cat([l2g, l2l], 1).softmax(1) @ v[h]
        out.append(torch.cat([y_g, y_l]))
    return module.o_proj(torch.cat(out, 1))


@pytest.mark.parametrize("part", PARTS, ids=str)
@torch.no_grad()
def test_is_the_published_definition(part: Etc) -> None:
    module: Any = build(part, causal=False)
    x = tokens(1, 60)
    assert_same(module(x)[0][0], published(module, part, x[0]), "output")


@torch.no_grad()
def test_padding_is_not_counted() -> None:
    part = PARTS[1]
    module: Any = build(part, causal=False)
    x, mask = tokens(2, 60), padding_mask(2, 60)
    got = module(x, mask_bl=mask)[0]
    for b in range(2):
        assert_same(got[b][mask[b]], published(module, part, x[b][mask[b]]), f"row {b}")


def test_without_labels_and_limits_it_is_softmax() -> None:
    module: Any = build(Etc(tokens=2, radius=100), causal=False)
    with torch.no_grad():
        module.labels.key_hkc.zero_()
    theirs: Any = build(Softmax(), causal=False)
    theirs.load_state_dict({name: t for name, t in module.state_dict().items() if "labels" not in name})
    assert_same(module(tokens())[0], theirs(tokens())[0], "output")


def test_long_tokens_meet_in_two_layers_through_the_global_input() -> None:
    for mixer, met in ((Etc(tokens=2, radius=2), True), (Sparse(pattern=Window(2)), False)):
        config = TransformerConfig(
            vocab_size=9, width=24, heads=3, depth=2, mixer=mixer, position="none()", causal=False
        )
        x = tokens(1, 60).float().requires_grad_()
        Transformer(config)(inputs_embeds=x).last_hidden_state[
            0, 10, 0
        ].backward()  # a sum over a normed token is constant
        assert (x.grad is not None and x.grad[0, 50].abs().max() > 0) == met


@pytest.mark.parametrize("part", PARTS[1:], ids=str)
def test_other_options_keep_the_core_laws(part: Etc) -> None:
    check(part, site=SITE, only=CORE_LAWS)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS[1:], ids=str)
def test_other_options_keep_the_laws(part: Etc) -> None:
    check(part)


def test_what_cannot_be_says_so() -> None:
    for wrong in ({"tokens": 0}, {"radius": -1}, {"clip": -1}, {"segment": 0}):
        with pytest.raises(ValueError, match="at least"):
            Etc(**wrong)
    with pytest.raises(ValueError, match="hard needs a segment"):
        Etc(hard=True)
    with pytest.raises(Unsupported, match="longformer"):
        build(Etc(), causal=True)


def test_what_is_kept_from_inference_mode_serves_training() -> None:
    module, x = build(Etc(), causal=False), tokens(length=59)
    with torch.inference_mode():
        module(x)
    module(x.requires_grad_())[0].sum().backward()


def test_a_sequence_of_less_than_the_global_input_is_all_of_it() -> None:
    module = build(Etc(), causal=False)
    theirs = build(Etc(tokens=5), causal=False)
    theirs.load_state_dict(module.state_dict())
    x = tokens(length=5)
    assert_same(module(x)[0], theirs(x)[0], "output")
