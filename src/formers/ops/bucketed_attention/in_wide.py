"""Forms that work in float32 or wider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from formers.ops.common.dtypes import accumulation_dtype


def in_wide(form: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a form of attention that is given queries, keys or None, and values in float32, for half types."""

    def run(q: Tensor, k: Tensor | None, v: Tensor, *rest: Any) -> Tensor:
        work = accumulation_dtype(q.dtype)
        return form(q.to(work), None if k is None else k.to(work), v.to(work), *rest)

    return run
