"""Rules that predict a token's depth, and learn it from an oracle (the depth-adaptive Transformer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.computation.confidence_rules import at_exit, check_threshold, check_weight, mean_over, normalized
from formers.computation.depth_oracles import DepthOracle, ExitScores, Likelihood
from formers.computation.exit_rules import ExitPoint, ExitRule, ExitRuleModule
from formers.mixers.documents import Documents
from formers.part import Site, State, Unsupported


class _DepthPredictor(ExitRule):
    """A distribution q over the exits n = 1 … N for each token, trained by its cross-entropy with an oracle's depth q*.

    The gradient of its loss reaches the layers, not the oracle. Hidden states enter with mean 0 and variance 1.
    Source: Elbayad et al. 2019 (depth-adaptive), arXiv:1910.10073, section 3.
    """

    learns = True
    oracle: DepthOracle = Likelihood()
    "q*: the depth that a token should have had."
    weight: float = 0.1
    "By how much the loss counts in training."

    def check(self) -> None:
        check_weight(self, self.weight)


class MultinomialDepth(_DepthPredictor):
    """q = softmax(W·h₁ + b), from the token's own hidden state behind the first layer; it leaves at the likeliest exit.

    Its depth is known before the second layer.
    """

    def build(self, site: Site, exits: int) -> ExitRuleModule:
        return MultinomialModule(self, site.width, exits)


class SequenceDepth(_DepthPredictor):
    """q = softmax(W·m + b), m the mean of the hidden states behind the first layer up to the token; the likeliest exit.

    The published model reads the mean of an encoder's states, and gives all tokens of a sequence one depth. Without an
    encoder, m is the mean over the tokens so far, so that the depth settles along the sequence and no token sees the
    future; each is trained for the depth that suits the whole row best.
    """

    def build(self, site: Site, exits: int) -> ExitRuleModule:
        return SequenceModule(self, site.width, exits, causal=site.causal)


class GeometricDepth(_DepthPredictor):
    """q(n) = χ_n·Π_{m<n}(1 − χ_m), χ_n = σ(w_n·h_n + b_n), χ_N = 1: behind each layer, whether to leave there.

    A token leaves behind the first layer where χ_n is at least the threshold.
    """

    threshold: float = 0.5
    "In [0, 1]; tuned on validation."

    def check(self) -> None:
        super().check()
        check_threshold(self, self.threshold)

    def build(self, site: Site, exits: int) -> ExitRuleModule:
        return GeometricModule(self, site.width, exits)


class MultinomialModule(ExitRuleModule):
    def __init__(self, rule: _DepthPredictor, width: int, exits: int):
        super().__init__()
        self.rule = rule
        self.depth_proj = nn.Linear(width, exits)

    def plan(
        self, x_bld: Tensor, mask_bl: Documents | Tensor | None, state: State | None
    ) -> tuple[Tensor | None, State | None]:
        return self.depth_proj(normalized(x_bld)).argmax(-1) + 1, None

    def loss(self, hidden: Sequence[Tensor], scores: ExitScores) -> Tensor | None:
        logits_bln = self.depth_proj(normalized(hidden[0]))
        return self.rule.weight * _cross_entropy(logits_bln, self.rule.oracle.token_depths(scores), scores)


class SequenceModule(MultinomialModule):
    states = 1

    def __init__(self, rule: _DepthPredictor, width: int, exits: int, *, causal: bool):
        super().__init__(rule, width, exits)
        self.causal = causal

    def plan(
        self, x_bld: Tensor, mask_bl: Documents | Tensor | None, state: State | None
    ) -> tuple[Tensor | None, State | None]:
        assert state is None or isinstance(state, MeanState), f"expected a MeanState, not a {type(state).__name__}"
        mean_bld, state = running_mean(normalized(x_bld), _of_rows(mask_bl), state)
        mean_bld = mean_bld if self.causal else mean_bld[:, -1:].expand_as(mean_bld)
        return self.depth_proj(mean_bld).argmax(-1) + 1, state

    def reads(self, x_bld: Tensor, mask_bl: Documents | Tensor | None) -> Tensor:
        return running_mean(normalized(x_bld), _of_rows(mask_bl), None)[0]

    def loss(self, hidden: Sequence[Tensor], scores: ExitScores) -> Tensor | None:
        mean_bld = hidden[0]
        depths_bl = self.rule.oracle.sequence_depths(scores).unsqueeze(1).expand(mean_bld.shape[:2])
        return self.rule.weight * _cross_entropy(self.depth_proj(mean_bld), depths_bl, scores)


class GeometricModule(ExitRuleModule):
    def __init__(self, rule: GeometricDepth, width: int, exits: int):
        super().__init__()
        self.rule = rule
        self.halt_proj = nn.Linear(width, max(exits - 1, 1))  # one row an exit but the last

    def halts(self, point: ExitPoint) -> Tensor:
        return at_exit(self.halt_proj, point.number, point.x_bld).sigmoid() >= self.rule.threshold

    def loss(self, hidden: Sequence[Tensor], scores: ExitScores) -> Tensor | None:
        if len(hidden) < 2:
            return None
        chi_bln = torch.stack([at_exit(self.halt_proj, n, h) for n, h in enumerate(hidden[:-1], 1)], -1)
        depths_bl = self.rule.oracle.token_depths(scores)
        return self.rule.weight * _cross_entropy(geometric_log_q(chi_bln), depths_bl, scores)


@dataclass(frozen=True)
class MeanState(State):
    """The sum of the real tokens' vectors so far, and their number, `seen_b`."""

    sum_bd: Tensor

    def reset(self, rows_b: Tensor) -> Self:
        return replace(
            self, seen_b=self.seen_b.masked_fill(rows_b, 0), sum_bd=self.sum_bd.masked_fill(rows_b.unsqueeze(1), 0)
        )


def running_mean(x_bld: Tensor, mask_bl: Tensor | None, state: MeanState | None) -> tuple[Tensor, MeanState]:
    """Return the mean of the real tokens up to each one, (B, L, D), and the state after the last; padding adds nothing.

    Sums are in float32 or wider.
    """
    batch, length, _ = x_bld.shape
    real_bl = x_bld.new_ones(batch, length, dtype=torch.bool) if mask_bl is None else mask_bl
    wide = x_bld.float() if x_bld.dtype in (torch.float16, torch.bfloat16) else x_bld
    sums_bld = wide.masked_fill(~real_bl.unsqueeze(-1), 0).cumsum(1)
    count_bl = real_bl.long().cumsum(1)
    if state is not None:
        sums_bld = sums_bld + state.sum_bd.unsqueeze(1)
        count_bl = count_bl + state.seen_b.unsqueeze(1)
    mean_bld = sums_bld / count_bl.clamp(min=1).unsqueeze(-1)
    return mean_bld.to(x_bld.dtype), MeanState(count_bl[:, -1], sums_bld[:, -1])


def _of_rows(mask_bl: Documents | Tensor | None) -> Tensor | None:
    """Return the mask of rows that hold one document each. Raise Unsupported for several."""
    if isinstance(mask_bl, Documents):
        raise Unsupported(
            "sequence_depth() takes the mean of a row, but rows hold several documents; give each a row, padded, "
            "or use multinomial_depth()"
        )
    return mask_bl


def geometric_log_q(logits_bln: Tensor) -> Tensor:
    """Return log q(n) = log χ_n + Σ_{m<n} log(1 − χ_m), (B, L, N), of the logits of χ_1 … χ_{N−1}; χ_N is 1."""
    stay = F.logsigmoid(-logits_bln).cumsum(-1)
    before = torch.cat([torch.zeros_like(stay[..., :1]), stay], -1)
    leave = torch.cat([F.logsigmoid(logits_bln), torch.zeros_like(stay[..., :1])], -1)
    return before + leave


def _cross_entropy(logits_bln: Tensor, depths_bl: Tensor, scores: ExitScores) -> Tensor:
    """Return the mean of −log q(q*) over the tokens that count."""
    wide = logits_bln.float() if logits_bln.dtype in (torch.float16, torch.bfloat16) else logits_bln
    losses_bl = F.cross_entropy(wide.transpose(1, 2), depths_bl, reduction="none")
    return mean_over(losses_bl, scores.counts_bl)
