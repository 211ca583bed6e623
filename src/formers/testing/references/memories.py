"""References of memories, around attention: any mixer whose reference takes keys of all tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.memory import Compressive, Memorizing, NoMemory, Recurrent
from formers.mixers import Mixer, Softmax
from formers.part import Site
from formers.testing.references.algebra import Weights, attend, everything, project, side_by_side
from formers.testing.references.positions import on_heads, on_layer, related
from formers.testing.references.projections import project_heads
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
    q, k = (project_heads(site, weights, name, x_bsd, site.heads) for name in ("q_proj", "k_proj"))
    scores_bhss = torch.einsum("bhik,bhjk->bhij", q, k) / q.shape[3] ** 0.5
    scores_bhss = scores_bhss.masked_fill(~everything(x_bsd.shape[1], True), -torch.inf)
    return list(scores_bhss.softmax(-1)[:, :, -queries:].sum((1, 2)).detach().unbind(1))


def _attention(mixer: Mixer | None, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    mixer = mixer or Softmax()
    y_bld: Tensor = reference_of(mixer)(mixer, site, weights, x_bld, positions_bl)
    return y_bld


@reference(Memorizing)
def memorizing(
    part: Memorizing,
    site: Site,
    weights: Weights,
    segments: Sequence[Tensor],
    positions_bl: Tensor,
    mixer: Mixer | None = None,
) -> list[Tensor]:
    """g·softmax over the k most like of the memory + (1 − g)·softmax over the window, in the layer that looks up."""
    sizes = [x.shape[1] for x in segments]
    outputs, seen = [], torch.cat(list(segments), 1).detach()
    for number, x_bld in enumerate(segments):
        start = sum(sizes[:number])
        both_bld = torch.cat([seen[:, :start], x_bld], 1)
        outputs.append(_memorized(part, site, weights, both_bld, positions_bl[:, : start + sizes[number]])[:, start:])
    return outputs


def _memorized(part: Memorizing, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    window = part.window or site.context_length // 2
    distance = torch.arange(x_bld.shape[1])[:, None] - torch.arange(x_bld.shape[1])
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    q, k, v = (project_heads(site, weights, f"{name}_proj", x_bld, site.heads) for name in "qkv")
    turned_q, turned_k = (on_heads(site, weights, t, positions_bl) for t in (q, k))
    scores = turned_q @ turned_k.mT / k.shape[-1] ** 0.5
    changed = related(site, weights, scores, turned_q, turned_k, positions_bl)
    y = attend(changed.scores, (distance >= 0) & (distance < window), v, changed.values)
    if "memory.gate_h" in weights:
        q, k = (t / ((t * t).sum(-1, keepdim=True) + 1e-6) ** 0.5 for t in (q, k))
        cosines = q @ k.detach().mT
        old = ((distance >= window) & (distance < window + part.size)).expand_as(cosines)
        likely = torch.where(old, cosines, -torch.inf).argsort(-1, descending=True)[..., : part.k]
        taken = torch.zeros_like(old).scatter(-1, likely, True) & old
        found = attend(cosines * weights["memory.log_scale_h"].exp().view(-1, 1, 1), taken, v.detach())
        gate = torch.sigmoid(weights["memory.gate_h"]).view(-1, 1, 1) * old.any(-1, keepdim=True)
        y = gate * found + (1 - gate) * y
    return project(weights, "o_proj", side_by_side(y))
