"""SPALM equals its formula, learns what it should, and never finds the token it has to predict in its own text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from torch import Tensor

from formers.models import CausalLM
from formers.part import Unsupported
from formers.retrieval import Exact, LongTermMemory, Reading, Retriever, Spalm, build_datastore, neighbours_of


@pytest.fixture
def spalm(model: CausalLM) -> Spalm:
    torch.manual_seed(3)
    return Spalm(model.config.swap(memory="recurrent(length=8)", tie_word_embeddings=False)).eval()


def test_it_equals_its_formula(spalm: Spalm) -> None:
    spalm = spalm.double()
    text, near = torch.randint(11, (2, 6)), torch.randint(11, (2, 6, 3))
    near[0, 2] = -1
    near[1, 4, 2] = -1
    logits = spalm(text, neighbour_ids=near).logits
    hidden, w, w_g = spalm.model(text).last_hidden_state, spalm.lm_head.weight, spalm.gate_proj.weight[0]
    for row in range(2):
        for i in range(6):
            h, tokens = hidden[row, i], [int(t) for t in near[row, i] if t >= 0]
            z = h
            if tokens:
                shares = torch.stack([w[t] @ h for t in tokens]).softmax(0)
                m = sum(share * w[t] for share, t in zip(shares, tokens, strict=True))
                g = torch.sigmoid(w_g @ h)
                z = (1 - g) * m + g * h
            torch.testing.assert_close(logits[row, i], w @ z)


def test_calls_in_two_threads_have_their_own_neighbours(spalm: Spalm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both were given theirs before the first one mixes them in."""
    text, nears, together = torch.randint(11, (1, 6)), torch.randint(11, (2, 1, 6, 3)).unbind(), Barrier(2, timeout=60)
    alone = [spalm(text, neighbour_ids=near).logits for near in nears]
    monkeypatch.setattr(Spalm, "score", lambda *given, score=Spalm.score: (together.wait(), score(*given))[1])
    with ThreadPoolExecutor(2) as threads:
        found = [*threads.map(lambda near: spalm(text, neighbour_ids=near).logits, nears)]
    torch.testing.assert_close(found, alone)


def test_segments_equal_one_pass_and_all_learns(spalm: Spalm) -> None:
    text, near = torch.randint(11, (2, 8)), torch.randint(11, (2, 8, 3))
    whole = spalm(text, neighbour_ids=near).logits
    first = spalm(text[:, :5], neighbour_ids=near[:, :5], use_cache=True)
    rest = spalm(text[:, 5:], neighbour_ids=near[:, 5:], past_key_values=first.past_key_values).logits
    torch.testing.assert_close(whole[:, 5:], rest, rtol=1e-4, atol=1e-4)
    spalm(text, labels=text, neighbour_ids=near).loss.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in spalm.parameters())


def test_it_is_saved_and_refuses_what_it_cannot(spalm: Spalm, model: CausalLM, tmp_path: Path) -> None:
    spalm.save_pretrained(tmp_path / "spalm")
    again = Spalm.from_pretrained(tmp_path / "spalm").eval()
    text, near = torch.randint(11, (1, 5)), torch.randint(11, (1, 5, 2))
    assert torch.equal(again(text, neighbour_ids=near).logits, spalm(text, neighbour_ids=near).logits)
    with pytest.raises(ValueError, match=r"shape \(1, 5, k\) are needed, and none given"):
        spalm(text)
    with pytest.raises(Unsupported, match="set its long_term"):
        spalm.generate(text)
    with pytest.raises(Unsupported, match="needs memory=recurrent"):
        Spalm(model.config)


def test_it_asks_for_the_neighbours_of_what_it_writes(
    spalm: Spalm, model: CausalLM, ids: Tensor, tmp_path: Path
) -> None:
    """Each token is the likeliest of a pass over everything before it, with neighbours of its window; rows, beams."""
    store = build_datastore(model, ids, tmp_path / "store", Reading(length=16), dtype="float32")
    retriever = Retriever([(store, Exact().open(store))])
    spalm.long_term = LongTermMemory(model=model, retriever=retriever, k=3, length=7)
    prompts = [ids[:9], ids[20:25]]
    written = [spalm.generate(prompt[None], max_new_tokens=6, do_sample=False)[0] for prompt in prompts]
    for prompt, text in zip(prompts, written, strict=True):
        for end in range(len(prompt), len(text)):
            near = neighbours_of(model, retriever, text[max(0, end - 7) : end + 1], Reading(length=8), 3)[-1]
            given = torch.full((1, end, 3), -1)
            given[0, -1] = near
            assert spalm(text[None, :end], neighbour_ids=given).logits[0, -1].argmax() == text[end]
    padded = torch.stack([prompts[0], torch.cat([torch.zeros(4, dtype=torch.long), prompts[1]])])
    mask = torch.ones_like(padded)
    mask[1, :4] = 0
    together = spalm.generate(padded, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert torch.equal(together[0], written[0])
    assert torch.equal(together[1, 4:], written[1])
    assert spalm.generate(padded, attention_mask=mask, max_new_tokens=3, num_beams=2).shape == (2, 12)


def test_a_text_does_not_find_itself(model: CausalLM, tmp_path: Path) -> None:
    torch.manual_seed(4)
    text, reading = torch.randint(11, (100,)), Reading(length=16, context=5)  # without context, keys would be equal
    store = build_datastore(model, text, tmp_path / "store", reading, dtype="float32")
    retriever = Retriever([(store, Exact().open(store))])
    found = neighbours_of(model, retriever, text, reading, 4)
    assert torch.equal(found[:, 0], text[1:].int())
    others = neighbours_of(model, retriever, text, reading, 4, is_datastore=True)
    distances = (store.keys[:, None] - store.keys).square().sum(-1).fill_diagonal_(torch.inf)
    assert torch.equal(others, store.tokens[distances.topk(4, largest=False).indices])
    with pytest.raises(ValueError, match="the one datastore that was made of this text"):
        neighbours_of(model, retriever, text[:50], reading, 4, is_datastore=True)
