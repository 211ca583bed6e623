"""Tables by which patterns look pairs up, sent to a device once: each time the host would wait for it."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

_KEPT = 256
"""Tables on devices that are kept."""


class HasTable(Hashable, Protocol):
    """A pattern with a table, the same for equal patterns."""

    def table(self) -> Tensor:
        """Return the table on the CPU."""


def table_on(pattern: HasTable, device: torch.device) -> Tensor:
    """Return the table of a pattern on a device. A compiled graph holds its own."""
    return pattern.table().to(device) if torch.compiler.is_compiling() else _kept(pattern, device)


@lru_cache(_KEPT)
@torch.inference_mode(False)  # a table first sent for inference must serve training later
def _kept(pattern: HasTable, device: torch.device) -> Tensor:
    return pattern.table().to(device)
