"""Real tokens are taken to the front of their sequences and put back."""

from __future__ import annotations

import pytest
import torch

from formers.ops import packing, pad_input, unpad_input


@pytest.mark.parametrize("kind", ["left", "right", "interior", "row"])
def test_unpad_and_pad_are_inverse(randn, padding, poison, kind):
    mask = padding(kind, 3, 9)
    x = randn(3, 9, 4)
    pack = packing(mask)
    together = unpad_input(poison(x, mask, 1), pack)
    for row in range(3):
        count = int(pack.length_b[row])
        assert count == int(mask[row].sum())
        torch.testing.assert_close(together[row, :count], x[row, mask[row]])
        assert not together[row, count:].any()
    torch.testing.assert_close(pad_input(together, pack), x * mask[..., None])
