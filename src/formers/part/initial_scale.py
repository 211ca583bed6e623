"""The option `init`: the scale of a part's own initial weights."""

from __future__ import annotations

from typing import Protocol


class HasInit(Protocol):
    """A part with the option `init`; None leaves the scale to the model."""

    @property
    def init(self) -> float | None: ...


def check_init(part: HasInit) -> None:
    """Raise ValueError for a negative scale."""
    if part.init is not None and part.init < 0:
        raise ValueError(f"{part}: init must be at least 0")
