"""Options that do nothing, though some of their values raise, or though only training would show it."""

from __future__ import annotations

from typing import Any

from planting import Patch, fault

from formers.mixers import Pool, Routing
from formers.part import Part, Site
from formers.testing import laws


@fault(laws.every_option_counts)
def ignored_option_whose_probe_raises(patch: Patch) -> Part:
    class _Stride(Pool):
        stride: int = 4
        "Taken, checked, and forgotten."

        def check(self) -> None:
            if self.stride % 2:
                raise ValueError(f"stride must be even, but {self.stride} was given")

        def module(self, site: Site) -> Any:
            return Pool().module(site)

    return _Stride()


@fault(laws.every_option_counts)
def option_of_training_never_arrives(patch: Patch) -> Part:
    class _Routing(Routing):
        def module(self, site: Site) -> Any:
            return self.swap(decay=0.999).module(site) if self.decay != 0.999 else super().module(site)

    return _Routing()
