"""Linear layers whose product may be made by another kernel."""

from __future__ import annotations

from torch import nn


def is_plain_linear(module: nn.Module) -> bool:
    """Return whether a module is its weight and bias alone: a linear layer itself, without adapter or hook."""
    hooks = (getattr(module, f"_{when}_hooks") for when in ("forward", "forward_pre", "backward", "backward_pre"))
    return type(module) is nn.Linear and not any(hooks)
