from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers import default_data_collator

from formers.models import SequenceClassifier
from formers.tasks import Listops, parse
from formers.tasks.listops import TOKENS, Tree, depth, tokens, value


def reduced(words: list[str]) -> int:
    """The value of a written list, by a stack of open lists: no recursion, no tree, none of the task's own
    operators."""
    stack: list[list[int | str]] = [[]]
    for word in words:
        if word.startswith("["):
            stack.append([word])
        elif word.isdigit():
            stack[-1].append(int(word))
        else:
            operator, *values = stack.pop()
            inner = sorted(int(v) for v in values)
            middle = len(inner) // 2
            median = inner[middle] if len(inner) % 2 else int((inner[middle - 1] + inner[middle]) / 2)
            stack[-1].append(
                {"[MIN": inner[0], "[MAX": inner[-1], "[MED": median, "[SM": sum(inner) % 10}[str(operator)]
            )
    [[found]] = stack
    return int(found)


class Calculator(nn.Module):
    """Evaluates what it reads; `deep` operators within each other are too many for it."""

    device = torch.device("cpu")

    def __init__(self, deep: int = 99) -> None:
        super().__init__()
        self.deep = deep

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        found = []
        for ids, mask in zip(input_ids, attention_mask, strict=True):
            words = [TOKENS[i] for i in ids[mask.bool()].tolist()]
            levels = max(sum(1 if w.startswith("[") else -(w == "]") for w in words[:n]) for n in range(len(words)))
            found.append((reduced(words) + (levels >= self.deep)) % 10)
        return SimpleNamespace(logits=torch.eye(10)[found])


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (("[MED", [1, 8, 9, 2]), 5),
        (("[MED", [3, 4]), 3),
        (("[MED", [7, 0, 5]), 5),
        (("[SM", [9, 9, ("[MIN", [3, 4])]), 1),
        (("[MAX", [2, 9, ("[MIN", [4, 7]), 0]), 9),
    ],
)
def test_values_by_hand(tree: Tree, expected: int) -> None:
    assert value(tree) == reduced(tokens(tree)) == expected


def test_values_are_those_of_an_independent_evaluator() -> None:
    task = Listops(length=100, depth=5, arguments=6)
    stream = random.Random(1)
    trees = [task.draw(stream, "train") for _ in range(300)]
    assert all(value(tree) == reduced(tokens(tree)) for tree in trees)
    assert {value(tree) for tree in trees} == set(range(10))


def test_limits_are_kept_and_reached() -> None:
    task = Listops(length=60, depth=3, arguments=4)
    trees = task.held_out("test", 300)
    assert all(15 <= len(tokens(tree)) <= 60 for tree in trees)
    assert max(map(depth, trees)) == 3

    def widths(tree: Tree) -> list[int]:
        return [] if isinstance(tree, int) else [len(tree[1]), *(w for item in tree[1] for w in widths(item))]

    assert {w for tree in trees for w in widths(tree)} == {2, 3, 4}


def test_examples_depend_on_the_seed_and_the_index_only_and_stack() -> None:
    task = Listops()
    data = task.build(3, 50)
    assert data[7]["input_ids"].equal(task.build(3, 8)[7]["input_ids"])
    assert not data[7]["input_ids"].equal(task.build(4, 8)[7]["input_ids"])
    batch = default_data_collator([data[i] for i in range(8)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (8, 64)
    assert batch["labels"].shape == (8,)
    assert (batch["input_ids"] != 0).equal(batch["attention_mask"].bool())


def test_no_list_is_in_two_splits() -> None:
    task = Listops(length=7, depth=1, arguments=2)  # 400 lists
    stream = random.Random(0)
    sides = [
        {" ".join(tokens(task.draw(stream, side))) for _ in range(300)} for side in ("train", "validation", "test")
    ]  # type: ignore[arg-type]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_accuracy_and_its_slices_by_depth() -> None:
    task = Listops(length=30, depth=3, arguments=3)
    assert task.evaluate(Calculator()).metrics == {"accuracy": 1.0}  # type: ignore[arg-type]
    result = task.evaluate(Calculator(deep=3), "test")  # type: ignore[arg-type]
    assert result.slices["depth"] == {"2": 1.0, "3": 0.0}
    assert sum(result.items) / len(result.items) == pytest.approx(result.metrics["accuracy"])
    assert all("right" in sample for sample in task.samples(Calculator()))  # type: ignore[arg-type]


def test_evaluation_leaves_the_model_and_the_random_state_alone() -> None:
    task = Listops(length=16, depth=2, arguments=3)
    model = SequenceClassifier(task.base().swap(width=16, depth=1, heads=2)).train()
    state = torch.get_rng_state()
    assert task.evaluate(model) == task.evaluate(model)
    assert model.training
    assert torch.get_rng_state().equal(state)


def test_majority_hash_and_text_form() -> None:
    task = Listops(length=16, depth=2, arguments=3)
    values = [value(tree) for tree in task.held_out("test")]
    assert task.references()["majority"] in {values.count(v) / len(values) for v in range(10)}
    assert 0.05 < task.references()["majority"] < 0.3
    assert (
        parse("listops(depth=2, length=32)").data_hash == Listops(depth=2, length=32).data_hash != Listops().data_hash
    )


def test_lists_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at most 4 tokens"):
        Listops(length=64, depth=1, arguments=2)
    with pytest.raises(ValueError, match="at least 2"):
        Listops(arguments=1)
