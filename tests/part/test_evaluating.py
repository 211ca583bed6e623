"""A module evaluates inside a block, and everything in it is as it was afterwards."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn

from formers.part import evaluating


@pytest.mark.parametrize("training", [True, False])
def test_what_is_frozen_within_stays_so(training: bool) -> None:
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(2, 2))).train(training)
    module[1][0].train(not training)
    modes = [one.training for one in module.modules()]
    with suppress(KeyError), evaluating(module):
        assert not any(one.training for one in module.modules())
        assert torch.is_inference_mode_enabled()
        raise KeyError
    assert [one.training for one in module.modules()] == modes
    assert not torch.is_inference_mode_enabled()
