"""The mixture equals its formula, in one pass, in steps and in generation; tuning finds the best of the grid."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from torch import Tensor

from formers.models import CausalLM
from formers.part import Unsupported
from formers.retrieval import (
    Datastore,
    Exact,
    KnnLM,
    KnnOptions,
    Reading,
    Retriever,
    build_datastore,
    knn_log_probs,
    mixed_log_probs,
    score_text,
    tune,
)
from formers.retrieval.naive import naive_knn_lm
from formers.retrieval.representations import represent

READING = Reading(length=16)
OPTIONS = KnnOptions(k=5, temperature=3.0, weight=0.4)


@pytest.fixture
def knn(model: CausalLM, store: Datastore) -> KnnLM:
    return KnnLM(model, Retriever([(store, Exact().open(store))]), OPTIONS)


@pytest.mark.parametrize("key", ["ffn_input", "hidden"])
def test_the_mixture_equals_its_formula(model: CausalLM, ids: Tensor, tmp_path: Path, key: str) -> None:
    store = build_datastore(model, ids[:60], tmp_path / key, READING, key=key, dtype="float32")
    knn = KnnLM(model, Retriever.open([store.folder], model), OPTIONS)
    text = torch.randint(11, (2, 9))
    with torch.no_grad():
        log_p = knn(text).logits
        queries, logits = represent(model, text, key)
    for row, place in itertools.product(range(2), range(0, 9, 4)):
        expected = naive_knn_lm(
            queries[row, place], store.keys, store.tokens, logits[row, place], k=5, temperature=3.0, weight=0.4
        )
        torch.testing.assert_close(log_p[row, place].exp(), torch.tensor(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("key", ["ffn_input", "hidden"])
def test_calls_in_two_threads_ask_for_their_own_contexts(
    model: CausalLM, ids: Tensor, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have passed the layers before the first one asks."""
    store = build_datastore(model, ids[:60], tmp_path / "store", READING, key=key)
    knn = KnnLM(model, Retriever.open([store.folder], model), OPTIONS)
    texts, together = torch.randint(11, (2, 1, 9)).unbind(), Barrier(2, timeout=60)
    alone = [knn(text).logits for text in texts]
    monkeypatch.setattr(CausalLM, "score", lambda *given, score=CausalLM.score: (score(*given), together.wait())[0])
    with ThreadPoolExecutor(2) as threads:
        found = [*threads.map(lambda text: knn(text).logits, texts)]
    torch.testing.assert_close(found, alone)


def test_wrapping_a_model_leaves_the_modes_of_what_is_in_it(model: CausalLM, store: Datastore) -> None:
    model.train().model.layers[0].eval()
    KnnLM(model, Retriever([(store, Exact().open(store))]), OPTIONS)
    assert model.training
    assert not model.model.layers[0].training


def test_the_distribution_at_its_edges() -> None:
    distances = torch.tensor([[1e6, 1e6 + 4, torch.inf], [torch.inf] * 3])
    tokens = torch.tensor([[1, 2, 0], [0, 0, 0]])
    log_knn = knn_log_probs(distances, tokens, 4, 4.0)
    share = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(log_knn[0].exp(), torch.tensor([0, share, 1 - share, 0]))
    logits = torch.tensor([[5.0, 1.0, 1.0, -2.0]] * 2)
    mixed = mixed_log_probs(logits, log_knn, 0.5).exp()
    torch.testing.assert_close(mixed.sum(-1), torch.ones(2))
    torch.testing.assert_close(mixed[1], logits[1].softmax(-1))  # no neighbour: the model alone
    torch.testing.assert_close(mixed_log_probs(logits, log_knn, 1.0)[0].exp(), log_knn[0].exp())
    assert torch.equal(mixed_log_probs(logits, log_knn, 0.0), logits.log_softmax(-1))
    for wrong in [{"k": 0}, {"temperature": 0.0}, {"temperature": math.inf}, {"weight": 1.5}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            KnnOptions(**wrong)


def test_steps_and_kept_logits_equal_one_pass(knn: KnnLM) -> None:
    text = torch.randint(11, (3, 12))
    mask = torch.ones_like(text)
    mask[0, :4] = 0
    with torch.no_grad():
        whole = knn(text, attention_mask=mask).logits
        first = knn(text[:, :7], attention_mask=mask[:, :7], use_cache=True)
        rest = knn(text[:, 7:], attention_mask=mask, past_key_values=first.past_key_values)
        kept = knn(text, attention_mask=mask, logits_to_keep=2).logits
    torch.testing.assert_close(whole[:, 7:], rest.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole[:, -2:], kept, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", [{"do_sample": False}, {"num_beams": 3}, {"do_sample": True, "top_k": 0}])
def test_generation_equals_recomputation(knn: KnnLM, how: dict[str, object]) -> None:
    prompt = torch.randint(11, (2, 5))
    with torch.no_grad():
        torch.manual_seed(0)
        fast = knn.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, **how)
        torch.manual_seed(0)
        slow = knn.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, use_cache=False, **how)
    assert torch.equal(fast, slow)


def test_neighbours_change_what_is_generated(model: CausalLM, knn: KnnLM, ids: Tensor) -> None:
    knn.options = KnnOptions(k=3, temperature=1.0, weight=0.99)
    prompt = ids[None, :10]
    written = knn.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=4, do_sample=False)
    assert torch.equal(written[0], ids[:14])  # it has read this


def test_gradients_are_those_of_the_models_share(model: CausalLM, knn: KnnLM) -> None:
    text = torch.randint(11, (2, 8))
    knn(text, labels=text).loss.backward()
    taken = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    with torch.no_grad():
        log_knn = knn_log_probs(*knn.retriever.search(represent(model, text, "ffn_input")[0].flatten(0, 1), 5), 11, 3.0)
    p = 0.4 * log_knn.exp().view(2, 8, 11) + 0.6 * model(text).logits.softmax(-1)
    (-p[:, :-1].gather(-1, text[:, 1:, None]).log().mean()).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(taken[name], weight.grad, rtol=1e-3, atol=1e-5)


def test_it_is_the_model_itself(model: CausalLM, knn: KnnLM, tmp_path: Path) -> None:
    assert {*knn.parameters()} == {*model.parameters()}
    assert not knn.training
    assert not knn.model.layers[-1].ffn._forward_pre_hooks
    with pytest.raises(Unsupported, match="save the model"):
        knn.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="call the model itself"):
        knn.forward(torch.zeros(1, 2, dtype=torch.long))
    small = CausalLM(model.config.swap(vocab_size=10))
    with pytest.raises(ValueError, match="11 tokens, and the model knows 10"):
        KnnLM(small, knn.retriever)


def test_tuning_finds_the_best_of_the_grid(model: CausalLM, knn: KnnLM) -> None:
    torch.manual_seed(7)
    text = torch.randint(11, (50,))
    ks, temperatures, weights = (1, 4, 20), (1.0, 30.0), (0.0, 0.1, 0.5, 1.0)
    found = tune(model, knn.retriever, text, READING, ks=ks, temperatures=temperatures, weights=weights)
    scores = {}
    for k, t, weight in itertools.product(ks, temperatures, weights):
        knn.options = KnnOptions(k=k, temperature=t, weight=weight)
        scores[knn.options] = score_text(knn, text, READING).nats
    assert found.options == min(scores, key=scores.__getitem__)
    assert found.score.nats == pytest.approx(min(scores.values()), rel=1e-4)
    assert found.model.nats == pytest.approx(score_text(model, text, READING).nats, rel=1e-5)
    assert found.model.tokens == 49
    assert found.score.perplexity == pytest.approx(2**found.score.bits)


def test_a_token_that_is_all_but_impossible_leaves_something_to_choose(model: CausalLM, store: Datastore) -> None:
    with torch.no_grad():
        model.lm_head.weight.mul_(1e3)
    text = torch.randint(11, (50,))
    found = tune(model, Retriever([(store, Exact().open(store))]), text, READING, weights=(0.0, 0.3))
    assert math.exp(-found.model.nats) == 0.0
    assert found.score.nats < found.model.nats < math.inf
    assert found.options.weight == 0.3


def test_a_text_it_has_read_needs_fewer_bits(model: CausalLM, knn: KnnLM, ids: Tensor) -> None:
    found = tune(model, knn.retriever, ids[:64], READING)
    assert found.score.bits < 0.5 < found.model.bits


def test_it_costs_what_its_model_costs(knn: KnnLM, model: CausalLM) -> None:
    assert knn.flops_per_token(8) == model.flops_per_token(8)
    assert knn.state_bytes(8) == model.state_bytes(8)
    assert knn.state_bytes_per_token(8) == model.state_bytes_per_token(8)
