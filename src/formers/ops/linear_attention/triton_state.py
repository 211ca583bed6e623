"""Where Triton's kernels of linear attention find the states that segments start from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class TritonState(NamedTuple):
    """S and z, or R and r: where the first segment's are, and how many numbers on those of the next; None for zeros."""

    s: Tensor | None
    s_step: int
    z: Tensor | None
    z_step: int


def of_segments(states_nsx: Tensor, s_bhmv: Tensor) -> TritonState:
    """Return the states of the segments, as `running` makes them."""
    flat, step = states_nsx.view(-1), states_nsx.shape[2]
    return TritonState(flat, step, flat[s_bhmv.shape[2] * s_bhmv.shape[3] :], step)


def of_sequences(s: Tensor | None, z: Tensor | None) -> TritonState:
    """Return one state for each sequence."""
    return TritonState(s, 0 if s is None else s.shape[2] * s.shape[3], z, 0 if z is None else z.shape[-1])
