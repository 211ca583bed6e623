"""Oracles: the depths that depth predictors learn, from the scores that every exit gives to the true tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from formers.part import Part


@dataclass(frozen=True)
class ExitScores:
    """The scores that each of N exits gives to the tokens of a batch.

    Attributes:
        log_p_bln: log-likelihood of the true next token, (B, L, N), float32 or wider, without gradients.
        best_bln: the token with the largest score, (B, L, N).
        target_bl: the true next token, (B, L).
        counts_bl: which tokens count, (B, L); the others change nothing.
    """

    log_p_bln: Tensor
    best_bln: Tensor
    target_bl: Tensor
    counts_bl: Tensor

    @property
    def correct_bln(self) -> Tensor:
        """True where an exit gives the true token the largest score, (B, L, N)."""
        return self.best_bln == self.target_bl.unsqueeze(-1)

    @property
    def agrees_bln(self) -> Tensor:
        """True where an exit prefers the same token as the last one, (B, L, N)."""
        return self.best_bln == self.best_bln[..., -1:]


class DepthOracle(Part):
    """The depth that a token should have had: q* = argmax_n s_n − λ·n over the exits n = 1 … N, with a score s_n.

    Of equal values the smallest depth is taken. Source: Elbayad et al. 2019 (depth-adaptive), arXiv:1910.10073,
    section 3.
    """

    penalty: float = 0.0
    "λ: how much score one more layer has to bring."
    smoothing: float = 0.0
    "σ: scores of a token are summed with those of others at distance d in the row, weighted exp(−d²/σ²); 0: alone."

    def check(self) -> None:
        for name in ("penalty", "smoothing"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{self.name()}: {name} must be 0 or more, but {value} was given")

    def scores(self, exits: ExitScores) -> Tensor:
        """Return s_n of each token, (B, L, N)."""
        raise NotImplementedError

    def token_depths(self, exits: ExitScores) -> Tensor:
        """Return q* − 1 of every token, (B, L): the index of its exit."""
        scores_bln = self.scores(exits) * exits.counts_bl.unsqueeze(-1)
        if self.smoothing:
            scores_bln = _kernel(scores_bln, self.smoothing) @ scores_bln
        return self._best(scores_bln)

    def sequence_depths(self, exits: ExitScores) -> Tensor:
        """Return q* − 1 of every row, (B,), with the mean score of its tokens; smoothing has no part in it."""
        counts_bl = exits.counts_bl.unsqueeze(-1)
        total_bn = (self.scores(exits) * counts_bl).sum(1)
        return self._best(total_bn / counts_bl.sum(1).clamp(min=1))

    def _best(self, scores: Tensor) -> Tensor:
        """Return the index of the exit that scores best after the penalty, (…), of (…, N)."""
        depth_n = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
        return (scores - self.penalty * depth_n).argmax(-1)


class Likelihood(DepthOracle):
    """s_n = log p of the true token at exit n, in nats."""

    def scores(self, exits: ExitScores) -> Tensor:
        return exits.log_p_bln


class Correctness(DepthOracle):
    """s_n = 1 where exit n gives the true token the largest score, else 0."""

    def scores(self, exits: ExitScores) -> Tensor:
        return exits.correct_bln.to(exits.log_p_bln.dtype)


def _kernel(like: Tensor, width: float) -> Tensor:
    """Return exp(−(t − t′)²/σ²) of all pairs of places, (L, L)."""
    place_l = torch.arange(like.shape[1], device=like.device, dtype=like.dtype)
    return (-((place_l[:, None] - place_l) / width).square()).exp()
