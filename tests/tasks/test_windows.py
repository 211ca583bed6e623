"""Random windows of a text: the same one by one and together, in any order."""

from __future__ import annotations

import random

import pytest
import torch

from formers.tasks.windows import RandomWindows


def test_windows_depend_on_the_stream_and_their_number_only() -> None:
    ids = torch.arange(100, dtype=torch.uint8)
    windows, again = (RandomWindows(ids, 8, "text/0", 300) for _ in range(2))
    one_by_one = [windows[i]["input_ids"].tolist() for i in range(300)]
    for i in (0, 17, 299):
        start = random.Random(f"text/0/{i}").randrange(93)
        assert one_by_one[i] == [*range(start, start + 8)]
    for batch in ([0, 1, 2], [3, 4], [290, 299], [7, 3], [5]):
        together = again.__getitems__(batch)
        assert [it["input_ids"].tolist() for it in together] == [one_by_one[i] for i in batch]
        assert all(it["labels"] is it["input_ids"] and it["labels"].dtype == torch.int64 for it in together)
    with pytest.raises(IndexError, match="window 300 of 300"):
        windows[300]
