"""How a position on scores reaches the kernels: by rows of queries, or by pairs of tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.ops import Bias, OfPair, PairBias, Relation
from formers.part import weights_of
from formers.positions import RelationalPosition, RelativePosition, RelativeScores


def row_bias(position: nn.Module | None, q_positions_bl: Tensor, k_positions_bs: Tensor | None) -> Bias:
    """Return what the position does to the scores of queries and keys at these places, for `ops.attention`."""
    if position is None:
        return None
    assert k_positions_bs is not None, "a position on scores needs to know where the keys are"
    if isinstance(position, RelationalPosition):
        relation: Relation = position(q_positions_bl, k_positions_bs)
        return relation
    bias = _with_present_weights(position)
    return lambda start, stop: bias(q_positions_bl[:, start:stop], k_positions_bs)


def hidden_pairs(which: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to scores to hide pairs: −∞ where True, else 0."""
    return torch.zeros(which.shape, dtype=dtype, device=which.device).masked_fill_(which, -torch.inf)


def added_rows(bias: Bias, q_bhlk: Tensor, k_bgsk: Tensor) -> Callable[[int, int], Tensor | None]:
    """Return a function that makes rows start … stop − 1 of a bias that only adds: (B or 1, H or 1, l, S), or None."""
    if callable(bias):
        return bias
    if bias is None:
        return lambda start, stop: None
    assert isinstance(bias, RelativeScores)
    return lambda start, stop: bias.bias(q_bhlk[:, :, start:stop], k_bgsk, start)


def pair_bias(position: nn.Module | None, q_bhlk: Tensor, k_bgsk: Tensor, positions_bl: Tensor) -> PairBias | None:
    """Return what the position adds to the scores of single pairs, for `ops.sparse_attention`."""
    if position is None:
        return None

    def places(b: int, of_nl: Tensor) -> Tensor:
        return positions_bl[b if len(positions_bl) > 1 else 0][of_nl]

    if not isinstance(position, RelativePosition):
        added = _with_present_weights(position)
        return PairBias(lambda b, q_nl, k_ns: added(places(b, q_nl), places(b, k_ns)), weights_of(position))
    relation: RelativeScores = position(positions_bl, positions_bl)

    def bias(b: int, q_nl: Tensor, k_ns: Tensor) -> Tensor:
        q_nhlk, k_ngsk = q_bhlk[b][:, q_nl].transpose(0, 1), k_bgsk[b][:, k_ns].transpose(0, 1)
        bias_nhls = relation.at(places(b, q_nl), places(b, k_ns)).bias(q_nhlk, k_ngsk, 0)
        return bias_nhls.expand(len(q_nl), -1, -1, -1)

    return PairBias(bias, relation.depends_on(q_bhlk, k_bgsk), _related(relation, q_bhlk, positions_bl))


def _related(relation: RelativeScores, q_bhlk: Tensor, positions_bl: Tensor) -> Callable[[], OfPair] | None:
    """Return what a relation adds pair by pair; None where it cannot be made so."""
    if not relation.is_pairwise:
        return None

    def by_pair() -> OfPair:
        rows, of_distance = int(len(positions_bl) > 1), relation.of_pair(q_bhlk)
        return lambda b, h, q, k: of_distance(b, h, q, positions_bl[b * rows, k] - positions_bl[b * rows, q])

    return by_pair


def _with_present_weights(position: nn.Module) -> Callable[..., Tensor]:
    """Return the position as a function that keeps the weights it has now.

    Kernels call it again in the backward pass, when the module may hold others: `torch.func.functional_call` puts its
    own in for the forward pass alone.
    """
    weights = {**dict(position.named_parameters()), **dict(position.named_buffers())}
    if not weights or torch.compiler.is_compiling():
        return position
    return lambda *places: functional_call(position, weights, places)
