"""The position axis: how a model knows the order of its tokens."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from formers.ops import can_read, is_free_to_read, read_once, told
from formers.part import Part, Site
from formers.part.site import Place

ABILITY_FOR = {
    "heads": ("qk_position", "queries and keys"),
    "scores": ("score_position", "attention scores"),
    "weights": ("weight_position", "attention weights"),
}
"""Where a position acts within a mixer → the ability of a mixer that takes it there, and the place in words."""


class Position(Part):
    """How a model knows the order of its tokens. Where it acts decides what it combines with (`acts_on`)."""

    acts_on: ClassVar[Place] = "nothing"
    """Where the position enters.

    nothing: nowhere.
    input:  once, on the embedded input; any mixer. Module: `forward(x_bld, positions_bl) -> x_bld`.
    layer:  on the hidden states that enter every mixer; any mixer. Module: `forward(x_bld, positions_bl) -> x_bld`.
    heads:  on queries and keys; mixers that have them. Module: `forward(x_bhlk, positions_bl) -> x_bhlk`.
    scores: on the scores; mixers that form them. Module: `forward(q_positions_bl, k_positions_bs) -> bias_bhls`; or a
        `RelativePosition`, whose terms depend on the distance and may depend on queries and keys.
    weights: on how scores become weights, or on what these sum; mixers that form weights of all pairs. Module: a
        `RelationalPosition`.
    """
    extrapolates: ClassVar[bool] = True
    "Whether positions beyond `context_length` are defined."

    def build(self, site: Site) -> nn.Module:
        """Return the module, with the signature that belongs to `acts_on`."""
        raise self.lacks("build(site)")

    def embedding_width(self, site: Site) -> int:
        """Return the width of the token embedding beside the position: D unless the position is concatenated."""
        return site.width


def farthest_position(positions_bl: Tensor, known: int) -> int:
    """Return the largest position, or −1 where it is not looked at: where none can be beyond the `known` ones, where
    positions cannot be read, and at single tokens on a device that would be waited for, step by step. A table fails
    there by itself for a position that it has not.
    """
    looked_at = can_read(positions_bl) and (positions_bl.shape[1] > 1 or is_free_to_read(positions_bl))
    if not looked_at or not positions_bl.numel():
        return -1
    bound = told(positions_bl, "bound")
    if bound is not None and bound < known:
        return -1
    return read_once(positions_bl, "farthest", lambda t: int(t.max()))


def build_at(place: Place, site: Site) -> nn.Module | None:
    """Return the module of the site's position if it acts on this place, else None."""
    position = site.position
    return position.build(site) if position is not None and position.acts_on == place else None
