"""Derivatives of any order, for kernels whose backward pass is written by hand.

Such a pass records no graph of what it computes, and marked `once_differentiable` it would be left out of second
derivatives without a word: `autograd.grad` prunes the node that should complain. So each of these kernels has a second
form, the same function in operations that autograd knows, which takes its place

- in a backward pass where `needs_autograd(…)`: it returns `gradients_by_autograd(form, inputs, gradients_of_outputs)`;
- in a forward pass where `is_transformed()`.

Nothing else runs the second forms: they cost ordinary training nothing, and need not be fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from formers.ops.common.dtypes import without_autocast


def is_transformed() -> bool:
    """Return True inside a transform of `torch.func` (grad, vmap, jvp, …), and where forward-mode derivatives are made.

    Not for compilers, which trace transforms themselves.
    """
    return not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )


def is_recorded(*tensors: Tensor | None) -> bool:
    """Return True where autograd records what is made of these tensors."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def is_batched(*tensors: Tensor | None) -> bool:
    """Return True where any tensor is several at once, as `torch.autograd.grad(…, is_grads_batched=True)` gives them.

    `jacobian(…, vectorize=True)` does so, too. That is an older `vmap`, and no transform of `torch.func`: such tensors
    cannot be written to, and a kernel finds no memory of theirs.
    """
    return not torch.compiler.is_compiling() and any(
        t is not None and torch._C._functorch.is_legacy_batchedtensor(t) for t in tensors
    )


def needs_autograd(*gradients: Tensor | None) -> bool:
    """Return True in a backward pass whose gradients are to be differentiated again, or come as a batch by `vmap`.

    Grad mode is on inside a backward pass exactly where a graph is wanted, as with `create_graph=True`.

    Args:
        gradients: those of the outputs.
    """
    return torch.is_grad_enabled() or is_transformed() or is_batched(*gradients)


def gradients_by_autograd(
    form: Callable[..., tuple[Tensor | None, ...]],
    inputs: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the inputs of `form`, given those of its outputs; with a graph if grad mode is on.

    Args:
        form: takes the inputs and returns the outputs, by operations that autograd knows.
        inputs: as saved for the backward pass. Those that need no gradient, and None, get None.
        gradients: of each output; None for one that has none.

    Cost: a forward and a backward pass of `form`; the graph holds what `form` computes until the gradients are freed.
    """
    graph_wanted, device = torch.is_grad_enabled(), next(t.device for t in inputs if t is not None)
    with torch.enable_grad(), without_autocast(device):
        # Views, so that inputs which were computed from each other are told apart.
        own = [t.view_as(t) if t is not None and t.requires_grad else t for t in inputs]
        wanted = [t for t in own if t is not None and t.requires_grad]
        known = [
            (y, g)
            for y, g in zip(form(*own), gradients, strict=True)
            if y is not None and g is not None and y.requires_grad
        ]
        if not wanted or not known:
            return (None,) * len(inputs)
        outputs, given = zip(*known, strict=True)
        found = iter(torch.autograd.grad(outputs, wanted, given, create_graph=graph_wanted, allow_unused=True))
        return tuple(next(found) if t is not None and t.requires_grad else None for t in own)
