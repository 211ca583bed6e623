"""Submodules that the layers of a model share."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from torch import nn


class SharingModule(nn.Module):
    """A module that may share submodules with other layers: the first layer owns them, later ones borrow them.

    Build the submodules as usual, then name them and say among whom they are shared:

        self.table = nn.Embedding(32, heads)
        self.share("table", among=(part, heads))

    A model calls `share_across_layers`. From then on `self.table` is the first layer's wherever it is used, and only
    that layer trains, moves and saves it. Where layers are on several devices, its results are on that layer's device.
    Outside a model nothing is shared, and every module has its own.
    """

    shared: tuple[str, ...] = ()
    "Names of the shared submodules."
    shared_among: Hashable = None
    "Modules with equal values share: their type, the part that built them, and sizes beside it."
    borrows: bool = False
    "Whether the shared submodules belong to an earlier layer."

    def share(self, *names: str, among: Hashable) -> None:
        """Declare submodules as shared by all modules with an equal `among`."""
        self.shared, self.shared_among = names, (type(self), among)

    def borrow_from(self, owner: SharingModule) -> None:
        """Drop the shared submodules and use those of `owner`."""
        for name in self.shared:
            delattr(self, name)
            self.__dict__[name] = getattr(owner, name)  # unregistered: the owner alone trains, moves and saves it
        self.borrows = True

    def weights(self) -> tuple[nn.Parameter, ...]:
        """Return every parameter that the module uses, the borrowed ones too."""
        borrowed = [parameter for name in self.shared if self.borrows for parameter in getattr(self, name).parameters()]
        return (*self.parameters(), *borrowed)


def share_across_layers(layers: Iterable[nn.Module]) -> None:
    """Let every sharing module in these layers borrow from the first one that it shares with."""
    owners: dict[Hashable, SharingModule] = {}
    for module in _sharing_modules(layers):
        owner = owners.setdefault(module.shared_among, module)
        if owner is not module:
            module.borrow_from(owner)


def layers_share(layers: Iterable[nn.Module]) -> bool:
    """Return whether any layer uses submodules of another one."""
    return any(module.borrows for module in _sharing_modules(layers))


def weights_of(module: nn.Module) -> tuple[nn.Parameter, ...]:
    """Return every parameter that a module uses, those that it borrows too."""
    return module.weights() if isinstance(module, SharingModule) else tuple(module.parameters())


def _sharing_modules(layers: Iterable[nn.Module]) -> list[SharingModule]:
    modules = [module for layer in layers for module in layer.modules()]
    return [module for module in modules if isinstance(module, SharingModule) and module.shared]
