"""Linear layers whose product may be made by another kernel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules import module as all_modules

_WHEN = ("forward", "forward_pre", "backward", "backward_pre")


def is_plain_linear(module: nn.Module) -> bool:
    """Return whether a module is its weight and bias alone: a linear layer itself, without adapter or hook.

    Nor with a `forward` of its own, as offloading gives it, or a weight that is more than numbers, as when quantised.
    """
    if type(module) is not nn.Linear or type(module.weight) not in (Tensor, nn.Parameter) or "forward" in vars(module):
        return False
    hooks = [getattr(module, f"_{when}_hooks") for when in _WHEN]
    return not any((*hooks, *(getattr(all_modules, f"_global_{when}_hooks") for when in _WHEN)))
