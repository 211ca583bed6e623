"""Faults of building: tensors off the meta device, starts that are never made, dtypes of their own."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault
from torch import nn

from formers.mixers import Softmax
from formers.part import Part, Site
from formers.testing import laws


def with_scale(make: Any, persistent: bool = True) -> Part:
    """Softmax attention whose output is multiplied by a tensor that is made anew in each build."""

    class _Scaled(Softmax):
        def build(self, site: Site) -> Any:
            module: Any = super().build(site)
            module.register_buffer("scale", make(site.width), persistent=persistent)
            whole = module.forward

            def forward(x: Any, state: Any = None, **rest: Any) -> Any:
                y, after = whole(x, state, **rest)
                return y * module.scale.to(y.dtype), after

            module.forward = forward
            return module

    return _Scaled()


@fault(laws.materialises_from_meta)
def a_buffer_lies_elsewhere(patch: Patch) -> Part:
    return with_scale(lambda width: torch.ones(width, device="cpu"))


@fault(laws.materialises_from_meta)
def a_buffer_is_not_saved(patch: Patch) -> Part:
    return with_scale(lambda width: torch.ones(width), persistent=False)


@fault(laws.materialises_from_meta)
def a_buffer_has_no_start(patch: Patch) -> Part:
    return with_scale(lambda width: torch.ones(width))


@fault(laws.materialises_from_meta)
def reads_a_value_in_training(patch: Patch) -> Part:
    class _Reading(Softmax):
        def build(self, site: Site) -> Any:
            module: Any = super().build(site)
            whole = module.forward
            module.forward = lambda x, *rest, **options: (float(x.detach().sum()), whole(x, *rest, **options))[1]
            return module

    return _Reading()


@fault(laws.builds_in_bfloat16)
def a_dtype_of_its_own(patch: Patch) -> Part:
    class _Wide(Softmax):
        def build(self, site: Site) -> Any:
            module: Any = super().build(site)
            module.o_proj = nn.Linear(site.width, site.width, bias=False, dtype=torch.float32)
            return module

    return _Wide()


@fault(laws.builds_in_bfloat16)
def cannot_be_drawn_in_bfloat16(patch: Patch) -> Part:
    return with_scale(lambda width: torch.linalg.qr(torch.randn(width, width))[0][0])


@fault(laws.exports_with_any_length)
def traces_one_length_only(patch: Patch) -> Part:
    class _Fixed(Softmax):
        def build(self, site: Site) -> Any:
            module: Any = super().build(site)
            whole = module.forward
            module.forward = lambda x, *rest, **options: whole(x * (x.shape[1] == 41 or 2), *rest, **options)
            return module

    return _Fixed()


@fault(laws.refuses_sizes_it_cannot_leave_open)
def traces_what_it_does_not_claim(patch: Patch) -> Part:
    class _Silent(Softmax):
        can = Softmax.can - {"export"}

        def build(self, site: Site) -> Any:
            module: Any = super().build(site)
            module.check_export = lambda x_bld: None
            return module

    return _Silent()


@fault(laws.exports_one_size)
def another_graph_than_its_own(patch: Patch) -> Part:
    class _Traced(Softmax):
        def build(self, site: Site) -> Any:
            module: Any = super().build(site)
            whole = module.forward
            module.forward = lambda x, *rest, **options: whole(
                x * (1 + torch.compiler.is_exporting()), *rest, **options
            )
            return module

    return _Traced()
