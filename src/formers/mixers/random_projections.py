"""Random directions that features and hashes project on: drawn, saved, and drawn anew as training goes on."""

from __future__ import annotations

from functools import cache
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from formers.ops import accumulation_dtype, read_once, tell


def draw(
    count: int, width: int, *, orthogonal: bool, one_length: bool = False, device: torch.device | None = None
) -> Tensor:
    """Return `count` vectors ~ N(0, I) of this width, (M, K); with `orthogonal`, orthogonal within each block of K.

    Orthogonal ones are the rows of random rotations, with the lengths of independent Gaussian vectors: each is still
    N(0, I), but together they cover the space evenly. With `one_length` all are √K long instead. Source: Yu et al.
    2016, arXiv:1610.09072; one length: Choromanski et al. 2021, arXiv:2009.14794. O(M K²).
    """
    wide = torch.promote_types(torch.get_default_dtype(), torch.float32)  # rotations are not to be had in less
    gaussian_mk = torch.randn(count, width, device=device, dtype=wide)
    if not orthogonal:
        return torch.nn.functional.normalize(gaussian_mk, dim=1) * width**0.5 if one_length else gaussian_mk
    blocks = -(-count // width)
    rotations, triangles = torch.linalg.qr(torch.randn(blocks, width, width, device=device, dtype=wide))
    signs = triangles.diagonal(dim1=1, dim2=2).sign()  # makes the rotations uniform, whatever QR's convention
    rows_mk = (rotations * signs.unsqueeze(1)).mT.reshape(-1, width)[:count]
    return rows_mk * (width**0.5 if one_length else gaussian_mk.norm(dim=1, keepdim=True))


_AWAITING_STEP: WeakSet[RandomProjections] = WeakSet()
"""Directions that a gradient has passed since an optimiser's last step."""


@cache
def _watch_optimisers() -> None:
    """Let every optimiser of torch count its steps for the directions that await one."""
    register_optimizer_step_post_hook(_count_step)


def _count_step(optimiser: Optimizer, args: object, options: object) -> None:
    for directions in list(_AWAITING_STEP):
        directions.count_step()
    _AWAITING_STEP.clear()


class RandomProjections(nn.Module):
    """Random directions w, (M, K), for inputs of width K.

    They are a buffer, saved with the model. With `redraw`, they are drawn anew at the start of the first training
    pass after so many training steps: steps of an optimiser of torch after backward passes in training mode, however
    many these were (gradient accumulation) and however often a forward pass was repeated (checkpointing). In eval mode
    nothing is drawn or counted. All ranks get rank 0's draw.

    Any optimiser's step counts that comes next after the backward pass, as directions know no parameters of their
    mixer, and those may be frozen. Where two models train in turn, as in a GAN, step each right after its backward
    pass.
    """

    left: Tensor
    "Training steps to go until the next draw; saved too, so that a resumed run draws when the first one would have."
    w_mk: Tensor

    def __init__(self, count: int, width: int, *, orthogonal: bool, redraw: int | None, one_length: bool = False):
        super().__init__()
        self.orthogonal, self.redraw, self.one_length = orthogonal, redraw, one_length
        self.register_buffer("w_mk", torch.empty(count, width))
        if redraw is not None:
            self.register_buffer("left", torch.empty((), dtype=torch.long))
        self.init_weights(0.0)

    def forward(self, x: Tensor, *, first: bool = True) -> Tensor:
        """Return w (M, K) for projecting x, in its dtype, or in float32 where that is a half type.

        `first`: whether this is the first use in a forward pass, the one that draws and counts.
        """
        if self.training and self.redraw is not None and first:
            if not self.left.is_meta and self._steps_left() <= 0:
                self.init_weights(0.0)
            if x.requires_grad and torch.is_grad_enabled():
                x.register_hook(self.await_step)
        return self.w_mk.to(accumulation_dtype(x.dtype))

    def await_step(self, gradient: Tensor) -> None:
        """Count the next step of an optimiser, as a gradient has passed."""
        _AWAITING_STEP.add(self)
        _watch_optimisers()

    def count_step(self) -> None:
        """Count a training step. Only loops that train without an optimiser of torch need to call it."""
        if self.redraw is not None:
            left = self._steps_left() - 1
            self.left -= 1
            tell(self.left, "steps", left)

    def _steps_left(self) -> int:
        """Return `left`, read from its device once and counted along, as reading waits for the device.

        It is read every time where ranks train together: DDP sets buffers to rank 0's without counting the change.
        """
        if dist.is_available() and dist.is_initialized():
            return int(self.left)
        return read_once(self.left, "steps", int)

    @torch.no_grad()
    def init_weights(self, std: float) -> None:
        """Draw new directions."""
        count, width = self.w_mk.shape
        drawn = draw(count, width, orthogonal=self.orthogonal, one_length=self.one_length, device=self.w_mk.device)
        self.w_mk.copy_(drawn)
        if self.redraw is not None:
            self.left.fill_(self.redraw)
            tell(self.left, "steps", self.redraw)
            if dist.is_available() and dist.is_initialized() and self.training and not self.w_mk.is_meta:
                dist.broadcast(self.w_mk, 0)

    def extra_repr(self) -> str:
        count, width = self.w_mk.shape
        return f"{count}, {width}, orthogonal={self.orthogonal}, redraw={self.redraw}"
