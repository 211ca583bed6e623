"""Options are refused before they cost anything."""

from __future__ import annotations

import pytest

from formers.models import TransformerConfig


@pytest.mark.parametrize("number", [2**20 + 1, 2**31, 10**12, 0, -1])
def test_more_labels_than_can_be_named_are_refused_at_once(number: int) -> None:
    with pytest.raises(ValueError, match="num_labels must be a whole number from 1 to 1,048,576"):
        TransformerConfig(num_labels=number)
