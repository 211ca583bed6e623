"""Which linear layers are their weight and bias alone."""

from __future__ import annotations

import torch
from torch import nn

from formers.part import is_plain_linear


class Quantised(nn.Parameter):
    """A weight that is more than its numbers."""


def test_a_layer_is_plain_until_something_is_put_on_it() -> None:
    assert is_plain_linear(nn.Linear(2, 3))
    assert not is_plain_linear(nn.Identity())
    hooked, offloaded, quantised = (nn.Linear(2, 3) for _ in range(3))
    hooked.register_forward_hook(lambda *_: None)
    offloaded.forward = lambda x: x  # type: ignore[method-assign]
    quantised.weight = Quantised(quantised.weight.data)
    assert not any(map(is_plain_linear, (hooked, offloaded, quantised)))


def test_hooks_of_all_modules_count() -> None:
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert not is_plain_linear(nn.Linear(2, 3))
    handle.remove()
    assert is_plain_linear(nn.Linear(2, 3))
