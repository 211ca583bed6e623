from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from formers.models import CausalLM
from formers.tasks import Recall, parse


class Rememberer(nn.Module):
    """Looks keys up in what came before, up to `capacity` pairs back from the first question."""

    device = torch.device("cpu")

    def __init__(self, vocab: int, capacity: int = 1000) -> None:
        super().__init__()
        self.vocab, self.capacity = vocab, capacity

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        out = torch.zeros(*input_ids.shape, self.vocab + 1)
        for row, tokens in enumerate(input_ids.tolist()):
            known: dict[int, int] = {}
            for at, token in enumerate(tokens):
                out[row, at, known.get(token, 0)] = 1
                if at and 0 < tokens[at - 1] <= self.vocab // 2 < token and len(known) < self.capacity:
                    known.setdefault(tokens[at - 1], token)
        return SimpleNamespace(logits=out)


def test_a_perfect_memory() -> None:
    task = Recall(length=32, pairs=8, vocab=16)
    result = task.evaluate(Rememberer(16))  # type: ignore[arg-type]
    assert result.metrics == {"accuracy": 1.0}
    assert result.slices == {"pairs": {"1": 1.0, "2": 1.0, "4": 1.0, "8": 1.0}}
    assert all("should be" not in sample for sample in task.samples(Rememberer(16)))  # type: ignore[arg-type]


def test_a_memory_of_two_pairs_fails_where_there_are_more() -> None:
    task = Recall(length=32, pairs=8, vocab=16)
    result = task.evaluate(Rememberer(16, capacity=2), "test")  # type: ignore[arg-type]
    assert result.slices["pairs"] == {"1": 1.0, "2": 1.0, "4": pytest.approx(0.5), "8": pytest.approx(0.25)}
    assert result.metrics["accuracy"] == pytest.approx((1 + 1 + 0.5 + 0.25) / 4)
    assert sum(result.items) / len(result.items) == pytest.approx(result.metrics["accuracy"])
    assert any("should be" in sample for sample in task.samples(Rememberer(16, capacity=2)))  # type: ignore[arg-type]


def test_a_sequence_tells_pairs_and_asks_for_each_key_once() -> None:
    task = Recall(length=40, pairs=8, vocab=32)
    data = task.build(0, 200)
    counts = set()
    for i in range(200):
        tokens, labels = (data[i][name].tolist() for name in ("input_ids", "labels"))
        asked = [at for at, label in enumerate(labels) if label != -100]
        told = dict(zip(tokens[: 2 * len(asked) : 2], tokens[1 : 2 * len(asked) : 2], strict=True))
        counts.add(len(asked))
        assert len(tokens) == len(labels) == 40
        assert len(told) == len(asked)
        assert min(asked) > 2 * len(told)
        assert {tokens[at - 1]: labels[at] for at in asked} == told
        assert all(tokens[at] == labels[at] for at in asked)
        assert max(told) <= 16 < min(told.values())
        assert sum(token != 0 for token in tokens) == 4 * len(told)
    assert counts == set(range(1, 9))


def test_examples_depend_on_the_seed_and_the_index_only() -> None:
    task = Recall()
    assert task.build(3, 10)[7]["input_ids"].equal(task.build(3, 900)[7]["input_ids"])
    assert not task.build(3, 10)[7]["input_ids"].equal(task.build(4, 10)[7]["input_ids"])


def test_no_sequence_is_in_two_splits() -> None:
    task = Recall(length=4, pairs=1, vocab=16)  # 64 sequences
    stream = random.Random(0)
    sides = {
        side: {tuple(task.example(stream, side)["input_ids"].tolist()) for _ in range(200)}
        for side in ("train", "validation", "test")
    }
    assert all(sides.values())
    assert not sides["train"] & sides["validation"]
    assert not sides["train"] & sides["test"]
    assert not sides["validation"] & sides["test"]


def test_evaluation_leaves_the_model_and_the_random_state_alone() -> None:
    task = Recall(length=16, pairs=4, vocab=16)
    model = CausalLM(task.base().swap(width=16, depth=1, heads=2)).train()
    state = torch.get_rng_state()
    assert task.evaluate(model) == task.evaluate(model)
    assert task.evaluate(model, "test").metrics["accuracy"] == pytest.approx(0.0, abs=0.4)
    assert model.training
    assert torch.get_rng_state().equal(state)


def test_the_loss_is_over_the_answers_only() -> None:
    task = Recall(length=16, pairs=4, vocab=16)
    example = {name: value[None] for name, value in task.build(0, 1)[0].items()}
    model = CausalLM(task.base().swap(width=16, depth=1, heads=2))
    logits = model(input_ids=example["input_ids"]).logits[0]
    asked = (example["labels"][0] != -100).nonzero().flatten()
    by_hand = -logits.log_softmax(-1)[asked - 1, example["labels"][0, asked]].mean()
    assert model(**example).loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_chance_hash_and_text_form() -> None:
    assert Recall(vocab=64).references() == {"chance": 1 / 32}
    assert parse("recall(pairs=2)").data_hash == Recall(pairs=2).data_hash != Recall().data_hash
    assert Recall(pairs=32, length=128, vocab=64).sizes == [4, 8, 16, 32]


@pytest.mark.parametrize(("options", "message"), [({"length": 10}, "at least 16"), ({"vocab": 14}, "at least 16")])
def test_what_cannot_be(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recall(**options)


def test_places_of_questions_follow_the_power_law() -> None:
    task, among, draws = Recall(length=64, power=0.25), 6, 4000
    found = [task.places(random.Random(i), among, 2) for i in range(draws)]
    assert all(len(set(places)) == 2 for places in found)
    weights = [k**-0.75 for k in range(1, among + 1)]
    total = sum(weights)
    for place, weight in enumerate(weights):
        p = weight / total
        second = sum(w / total * weight / (total - w) for other, w in enumerate(weights) if other != place)
        spread = (draws * (p + second) * (1 - p - second)) ** 0.5
        assert abs(sum(place in places for places in found) - draws * (p + second)) < 4 * spread
    assert abs(sum(places[0] < places[1] for places in found) - draws / 2) < 4 * (draws / 4) ** 0.5


def test_noise_stands_between_questions_and_is_none_of_the_keys() -> None:
    data = Recall(length=64, pairs=4, vocab=32, power=0.01, noise=True).build(0, 50)
    for i in range(50):
        tokens, labels = (data[i][name].tolist() for name in ("input_ids", "labels"))
        asked = [at for at, label in enumerate(labels) if label != -100]
        told = dict(zip(tokens[: 2 * len(asked) : 2], tokens[1 : 2 * len(asked) : 2], strict=True))
        assert 0 not in tokens
        assert {tokens[at - 1]: labels[at] for at in asked} == told
        assert sum(token in told for token in tokens) == 2 * len(told)


def test_options_that_came_later_change_no_data_of_before() -> None:
    assert Recall().data_hash == "b132e5f9dae8d222d5c1e2d3f8be2647e62ad4f22f766649452231752be9f36e"
    assert "power" not in Recall().to_json()
    with pytest.raises(ValueError, match="power is above 0 and at most 1"):
        Recall(power=0.0)
