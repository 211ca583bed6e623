"""Attention with terms by distance against each pair by itself, and where it is used."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from formers.ops import DistanceTerms, Relation, attention, works_by_distance
from formers.ops.attention.by_distance import attention_by_distance
from formers.testing.tolerance import assert_close_derived

by_distance = importlib.import_module("formers.ops.attention.by_distance")
NAMES = ["q", "k", "v", "c", "a", "b", "u"]
TABLES = {"short": (-8, 9), "long": (-300, 301), "around": (-6, 13), "wide": (-400, 900), "behind": (-3, 2)}
"""Name → the distance of the first entry, and how many there are."""


def of_pairs(
    q: Tensor, k: Tensor, v: Tensor, terms: DistanceTerms, causal: bool, mask: Tensor | None, scale: float
) -> Tensor:
    """The definition: the entries of every pair looked up."""
    heads, rows, keys = q.shape[1], q.shape[2], k.shape[2]
    distance = torch.arange(keys) - torch.arange(rows)[:, None] + terms.first
    count = terms.tables[0].shape[1]
    entry = (distance - terms.low).clamp(0, count - 1)
    k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    s = q @ k.mT * scale
    if terms.queries_bhlc is not None and terms.keys_hnc is not None:
        a = terms.keys_hnc.expand(heads, -1, -1)[:, entry]
        s = s + torch.einsum("bhlc,hlsc->bhls", terms.queries_bhlc, a)
    if terms.added_hn is not None:
        s = s + terms.added_hn[:, entry]
    seen = torch.ones(rows, keys, dtype=torch.bool)
    seen = seen.tril(keys - rows) if causal else seen
    if terms.window:
        seen = seen & (distance >= terms.low) & (distance < terms.low + count)
    seen = seen if mask is None else seen & mask[:, None, None]
    s = s.masked_fill(~seen, -torch.inf)
    empty = (s == -torch.inf).all(-1, keepdim=True)
    s = s.masked_fill(empty, 0)
    weight = (s - s.detach().logsumexp(-1, keepdim=True)).exp().masked_fill(empty, 0)
    total = weight.sum(-1, keepdim=True).masked_fill(empty, 1)
    y = weight @ v / total
    if terms.values_hnv is None:
        return y
    return y + torch.einsum("bhls,hlsv->bhlv", weight / total, terms.values_hnv.expand(heads, -1, -1)[:, entry])


def compare(
    randn: Any,
    shape: tuple[int, int],
    table: str,
    kind: str,
    *,
    causal: bool,
    window: bool = False,
    mask: Tensor | None = None,
    first: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    (rows, keys), (low, count) = shape, TABLES[table]
    q, k, v = randn(2, 4, rows, 6, seed=1), randn(2, 2, keys, 6, seed=2), randn(2, 2, keys, 5, seed=3)
    c, a, b, u = randn(2, 4, rows, 3, seed=4), randn(4, count, 3, seed=5), randn(1, count, seed=6), randn(1, count, 5)
    terms = DistanceTerms(rows - keys if first is None else first, low, window=window)
    given = [q, k, v, c, a, b, u]
    wanted = [t for t, name in zip(given, "qkvcabu", strict=True) if name in "qkv" or name in kind]

    def call(form: Any) -> Any:
        def run(*some: Tensor) -> Tensor:
            q, k, v, *rest = some
            named = dict(zip([name for name in "cabu" if name in kind], rest, strict=True))
            here = replace(
                terms,
                queries_bhlc=named.get("c"),
                keys_hnc=named.get("a"),
                added_hn=named.get("b"),
                values_hnv=named.get("u"),
            )
            out: Tensor = form(q, k, v, here)
            return out

        return run

    assert_close_derived(
        call(lambda q, k, v, t: attention_by_distance(q, k, v, t, causal=causal, key_mask_bs=mask, scale=0.4)),
        call(lambda q, k, v, t: of_pairs(q, k, v, t, causal, mask, 0.4)),
        wanted,
        names=[name for name in NAMES if name in "qkv" or name in kind],
        dtype=dtype,
    )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("shape", "kind"), [((37, 37), "ca"), ((150, 150), "cau"), ((70, 200), "cab"), ((20, 41), "b")]
)
def test_equals_each_pair_by_itself(randn, shape, kind, table, causal):
    compare(randn, shape, table, kind, causal=causal)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", ["ca", "b"])
def test_masks_and_queries_that_see_nothing(randn, padding, kind, causal):
    compare(randn, (41, 20), "short", kind, causal=causal)
    compare(randn, (150, 150), "short", kind, causal=causal, mask=padding("interior", 2, 150))
    compare(randn, (37, 37), "long", kind, causal=causal, mask=padding("row", 2, 37))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("first", [-30, 0, 3, 200])
@pytest.mark.parametrize("table", ["short", "around", "behind"])
def test_windows_hide_what_their_tables_do_not_have(randn, table, first, causal):
    compare(randn, (150, 170), table, "cab", causal=causal, window=True, first=first, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["cau", "b"])
def test_gradients_of_gradients(kind):
    def input_of(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=draw).requires_grad_()

    draw = torch.Generator().manual_seed(0)
    q, k, v = input_of(1, 2, 5, 2), input_of(1, 2, 5, 2), input_of(1, 2, 5, 2)
    c, a, b, u = input_of(1, 2, 5, 2), input_of(1, 4, 2), input_of(2, 4), input_of(2, 4, 2)

    def run(*given: Tensor) -> Tensor:
        q, k, v, c, a, b, u = given
        terms = DistanceTerms(0, -3, c, a, None, u) if kind == "cau" else DistanceTerms(0, -3, added_hn=b)
        return attention_by_distance(q, k, v, terms, causal=True, key_mask_bs=None, scale=0.5)

    assert torch.autograd.gradgradcheck(run, (q, k, v, c, a, b, u))


def test_infinite_scores_hide_pairs_and_pass_no_gradient(randn):
    b = torch.zeros(1, 9)
    b[:, :4] = -torch.inf
    q, k, v, b = (t.requires_grad_() for t in (*(randn(1, 2, 40, 4, seed=i).float() for i in range(3)), b))
    terms = DistanceTerms(0, -8, added_hn=b, window=True)
    y = attention_by_distance(q, k, v, terms, causal=True, key_mask_bs=None, scale=0.5)
    gradients = torch.autograd.grad(y.square().sum(), (q, k, v, b))
    assert all(g.isfinite().all() for g in gradients)
    assert not gradients[3][:, :4].any()


class _Steps(Relation):
    """A term by distance; asked for weights, it fails."""

    def by_distance(self, q_bhlk: Tensor) -> DistanceTerms:
        return DistanceTerms(0, -1, added_hn=q_bhlk.new_ones(1, 2))

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        raise NotImplementedError


def test_few_pairs_half_types_and_transforms_go_another_way(randn):
    q = randn(1, 1, 128, 4).float()
    assert works_by_distance(q, q)
    attention(q, q, q, causal=True, bias=_Steps())
    for few in (q[:, :, :1], q[:, :, :100], q.bfloat16()):
        assert not works_by_distance(few, few)
        with pytest.raises(NotImplementedError):
            attention(few, few, few, bias=_Steps())
    with pytest.raises(NotImplementedError):
        torch.func.grad(lambda t: attention(t, t, t, bias=_Steps()).sum())(q)


def test_memory_is_that_of_tokens_and_a_tile(randn):
    saved = []
    q = randn(1, 1, 512, 4).float().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        attention(q, q, q, causal=True, bias=_Steps())
    assert max(saved) <= 512 * 4
