"""Every part, by axis. Parts that their axis' package does not list are unknown to commands, laws and docs."""

from __future__ import annotations

from types import ModuleType

from formers import computation, ffn, memory, mixers, norms, positions, residuals
from formers.part import Part, members_in

AXES: dict[str, type[Part]] = {
    "mixer": mixers.Mixer,
    "position": positions.Position,
    "residual": residuals.Residual,
    "norm": norms.Norm,
    "ffn": ffn.Ffn,
    "memory": memory.Memory,
    "computation": computation.Computation,
    "feature": mixers.FeatureMap,
}
"""The choices a model is made of, and `feature`, a choice within linear attention."""

_LISTS: dict[type[Part], ModuleType] = {
    mixers.Mixer: mixers,
    positions.Position: positions,
    residuals.Residual: residuals,
    norms.Norm: norms,
    ffn.Ffn: ffn,
    memory.Memory: memory,
    computation.Computation: computation,
    mixers.FeatureMap: mixers,
}
"""Axis → the module that lists its parts."""


def members(axis: type[Part]) -> tuple[type[Part], ...]:
    """Return the parts of one axis, in the order in which its module lists them."""
    return members_in(vars(_LISTS[axis]), axis)


CATALOGUE: tuple[type[Part], ...] = tuple(kind for axis in AXES.values() for kind in members(axis))
"""Every part, axis by axis."""
