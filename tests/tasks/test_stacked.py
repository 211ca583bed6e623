"""Examples in one tensor for each name."""

from __future__ import annotations

import torch

from formers.tasks.stacked import StackedExamples


def test_examples_are_rows_and_shared_tensors_stay_shared() -> None:
    tokens, begins = torch.arange(6).view(3, 2), torch.tensor([True, False, False])
    stacked = StackedExamples({"input_ids": tokens, "labels": tokens, "begins": begins})
    copy = stacked.copy()
    tokens[0, 0] = 99
    assert len(stacked) == len(copy) == 3
    assert stacked[0]["input_ids"].tolist() == [99, 1]
    assert copy[0]["input_ids"].tolist() == [0, 1]
    for examples in (stacked, copy):
        assert [example["input_ids"].tolist() for example in examples][1:] == [[2, 3], [4, 5]]
        assert all(example["labels"] is example["input_ids"] for example in examples)
    assert len(StackedExamples({})) == 0
