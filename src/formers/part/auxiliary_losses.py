"""Losses that parts add to that of the task: a penalty on spans, a cost of pondering.

A module hands its loss over in its forward pass, and a head collects those of its backbone:

    add_loss("span", self.penalty * self.span.mean())      # in the module, in training

    with collect_losses() as losses:                       # in the head
        hidden = self.model(input_ids)
    loss = task_loss + losses.total()

A module adds its loss whenever it trains, whether anybody collects or not: layers that run again in the backward pass
(non-reentrant gradient checkpointing) must compute again what they did. There it is not counted a second time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from formers.part.unsupported import Unsupported


class CollectedLosses:
    """Losses of one pass of a model: scalars that their parts have weighted."""

    def __init__(self) -> None:
        self.share = 1.0  # that the next ones count by
        self._added: list[tuple[str, Tensor, float]] = []
        self._with_gradients = torch.is_grad_enabled()

    def add(self, name: str, value: Tensor) -> None:
        """Add a scalar under a name. Raise as `add_loss` does."""
        if value.ndim:
            raise ValueError(
                f"the loss {name!r} has shape {tuple(value.shape)}; expected a scalar, weighted and averaged"
            )
        if self._with_gradients and not torch.is_grad_enabled():
            raise Unsupported(
                f"the loss {name!r} would have no gradient: its layer runs without autograd, as reversible wiring and "
                "reentrant gradient checkpointing have it. Take another residual, or use_reentrant=False, or set the "
                "part's weight of this loss to 0"
            )
        self._added.append((name, value, self.share))

    def by_name(self) -> dict[str, Tensor]:
        """Return the sum of what was added under each name, in float32 or wider."""
        sums: dict[str, Tensor] = {}
        for name, value, share in self._added:
            wide = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
            sums[name] = sums[name] + wide * share if name in sums else wide * share
        return sums

    def total(self) -> Tensor | None:
        """Return the sum of all, in float32 or wider; None if there is none."""
        sums = list(self.by_name().values())
        return torch.stack(sums).sum() if sums else None


class _Open(threading.local):
    """The losses that are being collected in this thread; a context variable would do, but breaks compiled graphs."""

    losses: CollectedLosses | None = None


_open = _Open()


@contextmanager
def collect_losses() -> Iterator[CollectedLosses]:
    """Collect what modules add in this thread; the innermost collector gets it, and none outside it.

    `torch.compile` takes it into its graph. Where gradient checkpointing is compiled, too, the graph breaks at it.
    """
    outer, _open.losses = _open.losses, CollectedLosses()
    try:
        yield _open.losses
    finally:
        _open.losses = outer


class _RefusedLosses(CollectedLosses):
    """Raises Unsupported for any loss that is added."""

    def __init__(self, why: str):
        super().__init__()
        self.why = why

    def add(self, name: str, value: Tensor) -> None:
        raise Unsupported(f"the loss {name!r} that a part adds in training would be lost: {self.why}")


@contextmanager
def refuse_losses(why: str) -> Iterator[None]:
    """Let a module that adds a loss raise Unsupported with this reason, unless a collector is open outside."""
    outer = _open.losses
    if outer is None:
        _open.losses = _RefusedLosses(why)
    try:
        yield
    finally:
        _open.losses = outer


@contextmanager
def weighted_losses(share: float) -> Iterator[None]:
    """Let what is added here count by a share: for a layer that runs several times in a pass, on parts of its tokens.

    With each part's share of the tokens, losses that are means over tokens come to the mean over all of them, and
    losses that depend on no token count once.
    """
    losses = _open.losses
    if losses is None:
        yield
        return
    outer, losses.share = losses.share, losses.share * share
    try:
        yield
    finally:
        losses.share = outer


def add_loss(name: str, value: Tensor) -> None:
    """Add a weighted scalar to the losses that are being collected; without a collector, nothing happens.

    Neither does it in a backward pass, where a layer runs for a second time.

    Raise Unsupported where the value's gradient would be lost: it is computed without autograd, though the collector
    was opened with it. ValueError for what is no scalar.
    """
    if _open.losses is not None and not _in_backward_pass():
        _open.losses.add(name, value)


def _in_backward_pass() -> bool:
    """Return whether autograd is running a backward pass in this thread; compilers trace none of it."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
