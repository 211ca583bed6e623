"""Unknown subjects."""

from __future__ import annotations

import pytest

from formers.bench.subjects.parse import parse_subject


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sofmax", "did you mean 'softmax'"),
        ("spda", "did you mean 'sdpa'"),
        ("linear(featur=relu)", "did you mean 'feature'"),
        ("pip:local-atention", "did you mean pip:local-attention"),
        ("pip:torch", "known: pip:local-attention"),
    ],
)
def test_unknown_subjects_name_the_nearest(text: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        parse_subject(text)
