"""The memory of the Memorizing Transformer in whole models: conversion, segments, resets, beams, and what it finds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from formers.memory import Memorizing, fifo, lookup
from formers.memory.key_lists import StoredKeys
from formers.memory.lookup import Search, look_up
from formers.models import CausalLM, TransformerConfig, convert_weights
from formers.part import Unsupported
from formers.testing import SITE

CONFIG = TransformerConfig(vocab_size=13, width=24, depth=3, heads=3, context_length=32, initializer_range=0.3)
MEMORY = Memorizing(window=6, size=20, k=4, gate=0.5)


def model(memory: Memorizing = MEMORY) -> CausalLM:
    torch.manual_seed(0)
    return CausalLM(CONFIG.swap(memory=memory)).eval()


def ids(rows: int = 2, length: int = 40, seed: int = 1) -> Tensor:
    return torch.randint(13, (rows, length), generator=torch.Generator().manual_seed(seed))


def test_grouped_heads_agree_in_chunks() -> None:
    torch.manual_seed(0)
    grouped = CausalLM(CONFIG.swap(memory=MEMORY, mixer="softmax(kv_heads=1)")).eval()
    text = ids()
    with torch.no_grad():
        whole = grouped(text).logits
        first = grouped(text[:, :17], use_cache=True)
        rest = grouped(text[:, 17:], past_key_values=first.past_key_values).logits
    torch.testing.assert_close(whole[:, 17:], rest, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("window", [40, 50])
def test_a_converted_model_is_at_first_what_it_was(window: int) -> None:
    torch.manual_seed(0)
    plain = CausalLM(CONFIG).eval()
    with pytest.warns(UserWarning, match=r"memory\.gate_h"):
        conversion = convert_weights(plain, CONFIG.swap(memory=Memorizing(window=window)))
    assert {name.rpartition(".")[2] for name in conversion.fresh} == {"gate_h", "log_scale_h"}
    text = ids()
    with torch.no_grad():
        torch.testing.assert_close(conversion.model.eval()(text).logits, plain(text).logits)


def test_one_layer_looks_up() -> None:
    for depth, layer in [(1, 0), (2, 0), (3, 1), (4, 2), (12, 8)]:
        names = [n for n, _ in CausalLM(CONFIG.swap(depth=depth, memory=MEMORY)).named_parameters() if "gate_h" in n]
        assert names == [f"model.layers.{layer}.mixer.memory.gate_h"]
    with pytest.raises(ValueError, match="layer must be from 0 to 2"):
        CausalLM(CONFIG.swap(memory=Memorizing(layer=3)))
    with pytest.raises(Unsupported, match=r"Use softmax\(\)"):
        CausalLM(CONFIG.swap(memory=MEMORY, mixer="metric()"))
    with pytest.raises(Unsupported, match="bidirectional"):
        MEMORY.build(SITE, CONFIG.mixer_at(0).build(SITE))
    for wrong in [{"size": 0}, {"k": 0}, {"window": 0}, {"gate": 1.0}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Memorizing(**wrong)


@pytest.mark.parametrize("rows", [1, 2])
def test_faiss_that_looks_everywhere_finds_what_comparing_does(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In segments, with padding, with a row that begins anew, and where storage moves."""
    monkeypatch.setattr(lookup, "FEWEST_IN_LISTS", 8)
    text = ids(rows, length=90)
    found = []
    for search in ("exact", "faiss"):
        mask = torch.ones_like(text)
        mask[-1, 32:35] = 0
        real = mask.bool()
        memory, past, logits = (
            model(MEMORY.swap(size=48, search=search, probes=1000 if search == "faiss" else None)),
            None,
            [],
        )
        for start, piece in zip(range(0, 90, 9), text.split(9, 1), strict=True):
            with torch.no_grad():
                out = memory(piece, attention_mask=mask[:, : start + 9], past_key_values=past, use_cache=True)
            past = out.past_key_values
            logits.append(out.logits)
            if start == 54:
                past.reset_rows(torch.arange(rows) == 0)
                mask[0, :63] = 0
        found.append(torch.cat(logits, 1))
    torch.testing.assert_close(found[1][real], found[0][real], rtol=1e-4, atol=1e-4)


def test_faiss_finds_what_comparing_does_where_the_first_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie in the storage, and in the lists, before those of the memory."""
    monkeypatch.setattr(lookup, "FEWEST_IN_LISTS", 8)
    begins, stored_search = [], StoredKeys.search

    def watched(self: StoredKeys, *given: Any) -> Any:
        begins.append(self.begin)
        return stored_search(self, *given)

    monkeypatch.setattr(StoredKeys, "search", watched)
    found = []
    for options in ({"search": "exact"}, {"search": "faiss", "probes": 1000}):
        memory, past, logits = model(MEMORY.swap(size=20, **options)), None, []
        for piece in ids(length=90).split(9, 1):
            with torch.no_grad():
                out = memory(piece, past_key_values=past, use_cache=True)
            past = out.past_key_values
            logits.append(out.logits)
        found.append(torch.cat(logits, 1))
    assert max(begins) > 20
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_faiss_finds_most_in_some_lists() -> None:
    torch.manual_seed(0)
    centres = torch.randn(64, 16)
    k_bgsk = F.normalize(centres[torch.randint(64, (1, 2, 4000))] + 0.3 * torch.randn(1, 2, 4000, 16), dim=-1)
    memory = fifo.Fifo(k_bgsk[:, :, :1], k_bgsk[:, :, :1]).followed_by(fifo.Fifo(k_bgsk[:, :, 1:], k_bgsk[:, :, 1:]))
    q_bhlk, counts_bs = k_bgsk[:, :, ::100].repeat_interleave(2, 1), torch.arange(4040)[None]
    end = memory.ends[0]
    assert end is not None
    search = Search(memory, counts_bs[:, :4000], counts_bs[:, 4000:], (1, 4000), 20)
    want = lookup._nearest(q_bhlk, search)[0]
    got = lookup._nearest(q_bhlk, search._replace(stored=StoredKeys(end.storage, end.stop - 4000, probes=8)))[0]
    shared = (want.unsqueeze(-1) == got.unsqueeze(-2)).any(-1).float().mean()
    assert shared > 0.8


def test_a_reset_row_begins_anew_and_the_others_go_on() -> None:
    whole, text, more = model(), ids(), ids(seed=2)
    with torch.no_grad():
        cache = whole(text, use_cache=True).past_key_values
        cache.reset_rows(torch.tensor([True, False]))
        got = whole(more, past_key_values=cache).logits
        fresh = whole(more[:1]).logits
        on = whole(torch.cat([text, more], 1)).logits[1:, 40:]
    torch.testing.assert_close(got[:1], fresh, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1:], on, rtol=1e-4, atol=1e-4)


def test_beams_equal_recomputation() -> None:
    prompt = ids(length=30)
    found = [
        model().generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, num_beams=3, use_cache=cached
        )
        for cached in (True, False)
    ]
    assert torch.equal(*found)


def test_what_is_far_back_matters_up_to_the_memory() -> None:
    one, text = model(), ids(1)
    changed = text.clone()
    with torch.no_grad():
        before = one(text).logits[0, -1]
        for place, seen in [(15, True), (2, False)]:
            changed[:] = text
            changed[0, place] = (text[0, place] + 1) % 13
            # layers below hand on what lies up to 2·(window − 1) further back
            assert (not torch.equal(one(changed).logits[0, -1], before)) == seen


def test_a_lookup_in_pieces_equals_one_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    k, v, q = F.normalize(torch.randn(2, 2, 50, 8), dim=-1), torch.randn(2, 2, 50, 5), torch.randn(2, 4, 9, 8)
    counts = torch.arange(60).unsqueeze(0)
    search = Search(fifo.Fifo(k, v), counts[:, :50], counts[:, 51:], (3, 30), 6)
    monkeypatch.setattr(lookup, "_SCORES", 1000)
    found = look_up(q, search, torch.full((4,), 2.0)).y_bhlv
    for row in range(2):
        for head in range(4):
            for i in range(9):
                distance = 51 + i - torch.arange(50)
                products = (k[row, head // 2] @ q[row, head, i]).masked_fill((distance < 3) | (distance >= 30), -1e9)
                best, places = products.topk(6)
                expected = (2 * best).softmax(-1) @ v[row, head // 2][places]
                torch.testing.assert_close(found[row, head, i], expected)


def test_adding_to_a_long_memory_copies_nothing() -> None:
    first = fifo.Fifo(torch.zeros(1, 1, 100, 4), torch.zeros(1, 1, 100, 4))
    token = fifo.Fifo(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    state = first.followed_by(token).last(100)
    longer, branch = state.followed_by(token).last(100), state.followed_by(first.cut(slice(0, 1))).last(100)
    assert longer.k_bgsk.untyped_storage().data_ptr() == state.k_bgsk.untyped_storage().data_ptr()
    assert branch.k_bgsk.untyped_storage().data_ptr() != state.k_bgsk.untyped_storage().data_ptr()
    assert longer.k_bgsk[0, 0, -2:, 0].tolist() == [1, 1]
    assert branch.k_bgsk[0, 0, -2:, 0].tolist() == [1, 0]


def test_probes_are_refused_where_all_keys_are_compared() -> None:
    with pytest.raises(ValueError, match="probes are for search=faiss"):
        Memorizing(probes=4)
