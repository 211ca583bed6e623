from __future__ import annotations

import pytest
import torch

from formers.retrieval import Reading


@pytest.mark.parametrize(("length", "context", "tokens"), [(8, 0, 50), (8, 3, 50), (8, 6, 33), (5, 1, 6), (16, 4, 9)])
def test_each_token_is_predicted_once_after_its_context(length: int, context: int, tokens: int) -> None:
    ids = torch.arange(tokens)
    seen = []
    for batch in Reading(length=length, context=context).batches(ids):
        assert batch.ids_bl.shape[1] <= length
        here = batch.at(batch.ids_bl)
        assert torch.equal(batch.targets, here + 1)
        assert bool((batch.columns >= torch.where(here < length - 1, here.clamp(max=batch.columns), context)).all())
        seen += here.tolist()
    assert seen == list(range(tokens - 1))


def test_part_of_the_entries_are_those_of_the_whole() -> None:
    ids, reading = torch.arange(60), Reading(length=9, context=2)
    part = torch.cat([batch.targets for batch in reading.batches(ids, 17, 41)])
    assert part.tolist() == list(range(18, 42))


def test_windows_that_predict_nothing_are_refused() -> None:
    for length, context in [(1, 0), (4, 3), (4, -1)]:
        with pytest.raises(ValueError, match="predicts nothing"):
            Reading(length=length, context=context)
    with pytest.raises(ValueError, match="at least two tokens"):
        Reading(length=4).count(torch.zeros(1))
