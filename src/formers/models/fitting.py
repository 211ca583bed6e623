"""Weights in another shape: keys and values for more heads, and learned positions for longer sequences."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from formers.models.config import TransformerConfig
from formers.models.weight_names import place_of
from formers.positions import Learned

Extension = Literal["repeat", "interpolate"]
"""How a table of positions is made longer: by itself again from its start, or stretched, with means in between."""
_KEYS_VALUES = re.compile(r"\.[kv]_proj(_global)?\.(weight|bias)$")
_POSITION_TABLE = "input_position.table.weight"
"""The name of learned positions within the backbone."""
_TO_NEXT_DRAW = ".directions.left"
"""The end of the name of what counts the steps up to the next draw of random directions."""


class Layout(NamedTuple):
    """What rows of weights mean.

    Attributes:
        head_width: rows of each head, K.
        unused: rows of the table of positions before that of position 0.
        extension: how a longer table is made.
    """

    head_width: int
    unused: int
    extension: Extension


def layout_of(config: TransformerConfig, extension: Extension) -> Layout:
    """Return the layout of a model's weights."""
    unused = config.position.offset if isinstance(config.position, Learned) else 0
    return Layout(config.site().head_width, unused, extension)


def fitted(name: str, old: Tensor, new: Tensor, layout: Layout) -> tuple[Tensor, str]:
    """Return an old weight in the shape of a new one, and how that was made; "" where it is as it was.

    Raise ValueError for a misfit.
    """
    if name.endswith(_TO_NEXT_DRAW) and old > new:
        return new.clone(), f"{int(old)} steps to the next draw made {int(new)}, the new redraw"
    if old.shape == new.shape:
        return old, ""
    if old.shape[1:] == new.shape[1:]:
        if name.endswith(_POSITION_TABLE):
            return _other_length(old, len(new), layout)
        if _KEYS_VALUES.search(name) and len(new) % len(old) == 0 and len(old) % layout.head_width == 0:
            return _more_heads(old, len(new), layout.head_width)
    keep = "the new mixer the same heads, kv_heads and widths as the old one" if place_of(name) else "it no other sizes"
    raise ValueError(
        f"{name} has shape {tuple(old.shape)} in the given model, but {tuple(new.shape)} is needed; give {keep}"
    )


def _other_length(table: Tensor, rows: int, layout: Layout) -> tuple[Tensor, str]:
    """Return a table of positions with another number of rows; those that nothing uses stay in front."""
    unused, old, length = table[: layout.unused], table[layout.unused :], rows - layout.unused
    if layout.extension == "interpolate" and length > len(old):
        wide = old.to(torch.promote_types(old.dtype, torch.float32)).T[None]
        stretched = F.interpolate(wide, size=length, mode="linear", align_corners=True)[0].T.to(old.dtype)
        return torch.cat([unused, stretched]), f"{len(old)} positions stretched to {length}"
    if length < len(old):
        return torch.cat([unused, old[:length]]), f"the first {length} of {len(old)} positions"
    repeated = old[torch.arange(length, device=old.device) % len(old)]
    return torch.cat([unused, repeated]), f"{len(old)} positions repeated to {length}"


def _more_heads(weight: Tensor, rows: int, head_width: int) -> tuple[Tensor, str]:
    """Return keys or values that several query heads shared once for each of more heads."""
    heads, more = len(weight) // head_width, rows // head_width
    repeated = weight.unflatten(0, (heads, head_width)).repeat_interleave(more // heads, 0).flatten(0, 1)
    return repeated, f"{heads} heads repeated to {more}"
