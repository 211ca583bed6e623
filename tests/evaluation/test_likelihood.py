"""Log-likelihoods in padded batches are those of one text at a time, for states of every kind."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from formers.evaluation.likelihood import LikelihoodRequest, LogLikelihood, empty_memory, is_cut, log_likelihoods
from formers.evaluation.text_model import TextModel

from .small_models import CHOICES, CODER, causal_lm, text_model

TOLERANCE = 1e-4
"""Nats: sums of some twenty log-probabilities in float32, each of size 5 and right to some 1e-6."""


def asked(seed: int, longest: int) -> list[LikelihoodRequest]:
    """Continuations of one to six tokens after contexts of every length, two of them after one context."""
    stream = random.Random(seed)
    draw = [[stream.randrange(29) for _ in range(stream.randint(1, longest))] for _ in range(7)]
    tails = [[stream.randrange(29) for _ in range(stream.randint(1, 6))] for _ in draw]
    return [*map(LikelihoodRequest, draw, tails), LikelihoodRequest(draw[0], [3]), LikelihoodRequest(draw[0], [5])]


@torch.no_grad()
def scores(model: TextModel, ids: list[int]) -> Tensor:
    """Log-probabilities after each token of one text, without padding; in segments with a memory."""
    whole = torch.tensor([ids])
    memory = empty_memory() if model.carries else {}
    pieces = whole.split(model.length, 1) if model.carries else [whole]
    return torch.cat([model.model(input_ids=piece, **memory).logits for piece in pieces], 1)[0].double().log_softmax(-1)


def direct(model: TextModel, one: LikelihoodRequest) -> LogLikelihood:
    ids = [*one.context, *one.tokens] if model.carries else [*one.context, *one.tokens][-model.length - 1 :]
    log_p = scores(model, ids[:-1])[-len(one.tokens) :]
    nats = sum(float(log_p[i, token]) for i, token in enumerate(one.tokens))
    return LogLikelihood(nats, log_p.argmax(-1).tolist() == list(one.tokens))


@pytest.mark.parametrize("name", CHOICES)
def test_batches_give_what_one_text_at_a_time_gives(name: str) -> None:
    model = text_model(name)
    requests = asked(0, longest=40 if model.carries else 14)
    found = dict(log_likelihoods(model, requests))
    assert sorted(found) == list(range(len(requests)))
    for number, one in enumerate(requests):
        right = direct(model, one)
        assert found[number].nats == pytest.approx(right.nats, abs=TOLERANCE)
        assert found[number].is_greedy == right.is_greedy


def test_a_pretrained_model_gives_the_same() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=29, max_position_embeddings=16, **sizes))
    model = TextModel.of(llama, CODER, batch=4)
    assert (model.length, model.carries) == (16, False)
    for number, found in log_likelihoods(model, requests := asked(1, longest=14)):
        assert found.nats == pytest.approx(direct(model, requests[number]).nats, abs=TOLERANCE)


def test_the_likeliest_tokens_are_greedy() -> None:
    model = text_model("softmax")
    likeliest = int(scores(model, [1, 2, 3])[-1].argmax())
    other = (likeliest + 1) % 29
    (_, best), (_, worse) = sorted(
        log_likelihoods(model, [LikelihoodRequest([1, 2, 3], [likeliest]), LikelihoodRequest([1, 2, 3], [other])])
    )
    assert best.is_greedy
    assert not worse.is_greedy
    assert best.nats > worse.nats


def test_probabilities_of_all_next_tokens_sum_to_one() -> None:
    model = text_model("linear")
    every = [LikelihoodRequest([4, 7], [token]) for token in range(29)]
    assert sum(math.exp(found.nats) for _, found in log_likelihoods(model, every)) == pytest.approx(1)


def test_a_long_context_loses_its_beginning_and_a_memory_does_not() -> None:
    ids = [i % 29 for i in range(40)]
    one, cut = LikelihoodRequest(ids, [3, 4]), LikelihoodRequest(ids[-15:], [3, 4])
    model = text_model("linear")
    assert is_cut(model, one)
    assert not is_cut(model, cut)
    (_, whole), (_, last) = sorted(log_likelihoods(model, [one, cut]))
    assert whole == last
    carried = text_model("recurrent")
    assert not is_cut(carried, one)
    (_, whole), (_, last) = sorted(log_likelihoods(carried, [one, cut]))
    assert whole.nats != pytest.approx(last.nats, abs=1e-3)


def test_a_text_with_nothing_before_it_begins_after_the_first_token() -> None:
    model = text_model("softmax")
    [(_, found)] = log_likelihoods(model, [LikelihoodRequest([], [5, 6])])
    assert found == next(iter(log_likelihoods(model, [LikelihoodRequest([CODER.start], [5, 6])])))[1]


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(ValueError, match="17 tokens was asked for, and the model reads 16"):
        list(log_likelihoods(text_model("linear"), [LikelihoodRequest([1], [2] * 17)]))
    with pytest.raises(ValueError, match="length must be at least 2 and batch at least 1, not 16 and 0"):
        TextModel.of(causal_lm(), CODER, batch=0)
