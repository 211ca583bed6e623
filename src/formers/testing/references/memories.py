"""References of memories, around attention: any mixer whose reference takes keys of all tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.memory import Compressive, NoMemory, Recurrent
from formers.mixers import Mixer, Softmax
from formers.part import Site
from formers.testing.references.algebra import Weights, everything, heads_of, project
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


@reference(Compressive)
def compressive(
    part: Compressive,
    site: Site,
    weights: Weights,
    segments: Sequence[Tensor],
    positions_bl: Tensor,
    mixer: Mixer | None = None,
) -> list[Tensor]:
    """The last outputs of attention over [SG(compressed) ∘ SG(memory) ∘ x], all at places one after the other.

    `most_used` is for softmax attention without a position, of which it makes the weights.
    """
    outputs, seen = [], 0
    memory: list[Tensor] = []
    compressed: list[Tensor] = []
    used: list[Tensor] = []
    for x_bld in segments:
        before = [*compressed, *memory]
        both_bld = torch.cat([torch.stack(before, 1).detach(), x_bld], 1) if before else x_bld
        first = seen - len(memory)
        places_bl = positions_bl[:, first : seen + x_bld.shape[1]]
        earlier = [places_bl[:, :1] - k for k in range(len(compressed), 0, -1)]
        places_bl = torch.cat([*earlier, places_bl], 1)
        outputs.append(_attention(mixer, site, weights, both_bld, places_bl)[:, -x_bld.shape[1] :])
        memory += list(x_bld.unbind(1))
        if part.by == "most_used":
            mass = _mass(site, weights, both_bld, x_bld.shape[1])[len(compressed) :]
            used = [old + new for old, new in zip(used, mass, strict=False)] + mass[len(used) :]
        while len(memory) >= part.length + part.rate:
            compressed.append(_compress(part, weights, memory, used))
            del memory[: part.rate], used[: part.rate]
        compressed, seen = compressed[-part.compressed :], seen + x_bld.shape[1]
    return outputs


def _compress(part: Compressive, weights: Weights, memory: list[Tensor], used: list[Tensor]) -> Tensor:
    """Return the token, (B, D), in the place of the first `rate` of a memory."""
    old_bcd = torch.stack(memory[: part.rate], 1)
    if part.by == "max_pool":
        return old_bcd.max(1).values
    if part.by == "mean_pool":
        return sum(memory[: part.rate], torch.zeros(())) / part.rate
    if part.by == "most_used":
        best_b = torch.stack(used[: part.rate], 1).argmax(1)
        return old_bcd[torch.arange(len(best_b)), best_b]
    step, matrix = 2 if part.by == "dilated_conv" else 1, weights["memory.compressor.taps_proj.weight"]
    taps = matrix.split(matrix.shape[0], 1)
    return sum(
        (memory[step * k] @ taps[k].T for k in range(part.rate)), weights["memory.compressor.taps_proj.bias"]
    ).detach()


def _mass(site: Site, weights: Weights, x_bsd: Tensor, queries: int) -> list[Tensor]:
    """Return the attention of the last queries, summed over them and over heads, to each token, (B)."""
    q, k = (heads_of(project(weights, name, x_bsd), site.heads) for name in ("q_proj", "k_proj"))
    scores_bhss = torch.einsum("bhik,bhjk->bhij", q, k) / q.shape[3] ** 0.5
    scores_bhss = scores_bhss.masked_fill(~everything(x_bsd.shape[1], True), -torch.inf)
    return list(scores_bhss.softmax(-1)[:, :, -queries:].sum((1, 2)).detach().unbind(1))


def _attention(mixer: Mixer | None, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    mixer = mixer or Softmax()
    y_bld: Tensor = reference_of(mixer)(mixer, site, weights, x_bld, positions_bl)
    return y_bld
