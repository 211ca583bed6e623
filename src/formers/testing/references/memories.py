"""References of memories, around attention: any mixer whose reference takes keys of all tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.memory import NoMemory, Recurrent
from formers.mixers import Mixer, Softmax
from formers.part import Site
from formers.testing.references.algebra import Weights
from formers.testing.references.registry import reference, reference_of


@reference(NoMemory)
def no_memory(
    part: NoMemory,
    site: Site,
    weights: Weights,
    segments: Sequence[Tensor],
    positions_bl: Tensor,
    mixer: Mixer | None = None,
) -> list[Tensor]:
    """All segments in one pass: attention's own state holds everything."""
    y_bld = _attention(mixer, site, weights, torch.cat(list(segments), 1), positions_bl)
    return list(y_bld.split([x.shape[1] for x in segments], 1))


@reference(Recurrent)
def recurrent(
    part: Recurrent,
    site: Site,
    weights: Weights,
    segments: Sequence[Tensor],
    positions_bl: Tensor,
    mixer: Mixer | None = None,
) -> list[Tensor]:
    """The last outputs of attention over [SG(the last tokens) ∘ x]: queries of remembered tokens are thrown away."""
    outputs, seen = [], 0
    memory_bmd = segments[0][:, :0]
    for x_bld in segments:
        both_bld = torch.cat([memory_bmd.detach(), x_bld], 1)
        start, stop = seen - memory_bmd.shape[1], seen + x_bld.shape[1]
        outputs.append(_attention(mixer, site, weights, both_bld, positions_bl[:, start:stop])[:, -x_bld.shape[1] :])
        memory_bmd, seen = both_bld[:, max(both_bld.shape[1] - part.length, 0) :], stop
    return outputs


def _attention(mixer: Mixer | None, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    mixer = mixer or Softmax()
    y_bld: Tensor = reference_of(mixer)(mixer, site, weights, x_bld, positions_bl)
    return y_bld
