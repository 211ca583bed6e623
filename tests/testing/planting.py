"""Planting faults: a registry of faulty parts, and tools to spoil good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn

from formers.mixers import Softmax
from formers.ops.attention.attention import AttentionInputs
from formers.ops.common.dispatch import Forms
from formers.part import Part, Site

Patch = pytest.MonkeyPatch
FAULTS: dict[str, tuple[Any, Callable[[Patch], Part]]] = {}
"""Name → the law that must catch it, and what makes the faulty part."""


def fault(law: Any) -> Callable[[Callable[[Patch], Part]], Callable[[Patch], Part]]:
    def keep(make: Callable[[Patch], Part]) -> Callable[[Patch], Part]:
        FAULTS[f"{make.__name__}-{law.__name__}"] = (law, make)
        return make

    return keep


def spoiled(base: Part, change: Callable[[Tensor, Tensor, Any, nn.Module], tuple[Tensor, Any]]) -> Part:
    """The part, with `change(y, x, state, module)` on what its mixer returns."""

    class _Spoiled(type(base)):  # type: ignore[misc]
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward

            def forward(x: Tensor, state: Any = None, **rest: Any) -> Any:
                y, after = whole(x, state, **rest)
                return change(y, x, after, module)

            module.forward = forward
            return module

    return _Spoiled()


def op(patch: Patch, change: Callable[..., Tensor]) -> Part:
    """Softmax attention whose fast form, and only that, is changed."""
    forms = Forms.registry["attention"].forms
    fast, options = forms["torch"], AttentionInputs._fields[3:]

    def run(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
        return change(fast.run, q, k, v, **dict(zip(options, rest, strict=True)))

    patch.setitem(forms, "torch", replace(fast, run=run))
    return Softmax()
