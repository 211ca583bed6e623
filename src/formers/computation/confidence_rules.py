"""Rules that let a token leave once a confidence in [0, 1] reaches a threshold (CALM)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.computation.depth_oracles import ExitScores
from formers.computation.exit_rules import ExitPoint, ExitRule, ExitRuleModule
from formers.part import Site, Unsupported

SHARE = 0.9
"""The part of a decaying threshold that stays, as published."""


class _ConfidenceRule(ExitRule):
    """A token leaves behind the first layer where its confidence is at least the threshold λ.

    With a decay τ, the threshold of the token at position t is 0.9·λ + 0.1·exp(−τ·t/N), clipped to [0, 1], where N is
    the model's context_length: errors early in a sequence reach further than late ones.
    Source: Schuster et al. 2022 (CALM), arXiv:2207.07061, section 3.
    """

    threshold: float = 0.9
    "λ in [0, 1]. `formers calibrate` finds one that keeps a risk."
    decay: float | None = None
    "τ, 0 or more: how fast the threshold falls along the sequence; None: it stays λ."

    def check(self) -> None:
        check_threshold(self, self.threshold)
        if self.decay is not None and self.decay < 0:
            raise ValueError(f"{self.name()}: decay must be 0 or more, but {self.decay} was given")

    def module(self, width: int, exits: int) -> ConfidenceModule:
        """Return the module that computes the confidence. Every rule overrides this."""
        raise NotImplementedError

    def build(self, site: Site, exits: int) -> ExitRuleModule:
        module = self.module(site.width, exits)
        module.rule, module.length = self, site.context_length
        return module


class ConfidenceModule(ExitRuleModule):
    """Computes a confidence and compares it with the threshold of `rule`."""

    rule: _ConfidenceRule
    length: int
    first = 1
    "The first exit that has a confidence."

    def confidence(self, point: ExitPoint) -> Tensor:
        """Return the confidence of each token, (B, L), float32 or wider."""
        raise NotImplementedError

    def halts(self, point: ExitPoint) -> Tensor:
        if point.number < self.first:
            return torch.zeros_like(point.x_bld[..., 0], dtype=torch.bool)
        confidence_bl = self.confidence(point)
        if self.rule.decay is None:
            return confidence_bl >= self.rule.threshold
        return confidence_bl >= decayed(self.rule.threshold, self.rule.decay, point.positions_bl, self.length)


class Margin(_ConfidenceRule):
    """The largest probability of a next token minus the second largest: softmax₁ − softmax₂.

    Costs the model's head behind every layer, V·D multiplications: small vocabularies only gain by it.
    """

    def module(self, width: int, exits: int) -> ConfidenceModule:
        return MarginModule()


class MarginModule(ConfidenceModule):
    def confidence(self, point: ExitPoint) -> Tensor:
        if point.scores is None:
            raise Unsupported(
                "margin() compares scores of next tokens, but this model has no head for them; use a CausalLM, or "
                "saturation()"
            )
        return margin(point.scores(point.number, point.x_bld))


class Saturation(_ConfidenceRule):
    """The cosine of the hidden states behind this layer and the one before it: how little the layer has changed.

    From the second layer on; costs O(D).
    """

    def module(self, width: int, exits: int) -> ConfidenceModule:
        return SaturationModule()


class SaturationModule(ConfidenceModule):
    first = 2

    def confidence(self, point: ExitPoint) -> Tensor:
        return F.cosine_similarity(_widened(point.x_bld), _widened(point.before_bld), dim=-1)


class Classifier(_ConfidenceRule):
    """σ(w_n·norm(h_n) + b_n), trained to tell whether exit n would predict the same token as the last one.

    Its loss, the binary cross-entropy averaged over the exits before the last, reaches the classifier alone, so that
    it can be trained with the model or after it, with the rest frozen. Costs O(D). The norm has no weights.
    """

    learns = True
    weight: float = 1.0
    "By how much the loss counts in training."

    def check(self) -> None:
        super().check()
        check_weight(self, self.weight)

    def module(self, width: int, exits: int) -> ConfidenceModule:
        return ClassifierModule(width, exits, self.weight)


class ClassifierModule(ConfidenceModule):
    def __init__(self, width: int, exits: int, weight: float):
        super().__init__()
        self.weight = weight
        self.confidence_proj = nn.Linear(width, max(exits - 1, 1))  # one row an exit but the last

    def confidence(self, point: ExitPoint) -> Tensor:
        return at_exit(self.confidence_proj, point.number, point.x_bld).sigmoid()

    def loss(self, hidden: Sequence[Tensor], scores: ExitScores) -> Tensor | None:
        if len(hidden) < 2 or not self.weight:
            return None
        logits = [at_exit(self.confidence_proj, n, h.detach()) for n, h in enumerate(hidden[:-1], 1)]
        logits_bln = torch.stack(logits, -1)
        agrees_bln = scores.agrees_bln[..., :-1].to(logits_bln.dtype)
        losses_bl = F.binary_cross_entropy_with_logits(logits_bln, agrees_bln, reduction="none").mean(-1)
        return self.weight * mean_over(losses_bl, scores.counts_bl)


def margin(scores: Tensor) -> Tensor:
    """Return the largest probability minus the second largest, (…), of scores (…, V); 1 where V is 1."""
    best = _widened(scores).softmax(-1).topk(min(2, scores.shape[-1]), -1).values
    return best[..., 0] - best[..., 1] if best.shape[-1] > 1 else best[..., 0]


def decayed(threshold: float, decay: float, positions: Tensor, length: int) -> Tensor:
    """Return 0.9·λ + 0.1·exp(−τ·t/N), clipped to [0, 1], for positions t and length N, in float32."""
    return (SHARE * threshold + (1 - SHARE) * (-decay * positions.float() / length).exp()).clamp(0, 1)


def at_exit(linear: nn.Linear, number: int, x: Tensor) -> Tensor:
    """Return row `number` − 1 of a linear layer applied to normalised hidden states (…, D): (…), float32 or wider.

    All rows are made: a few more numbers a token, and the layer is called, which may have its weights elsewhere until.
    """
    found: Tensor = linear(normalized(x))[..., number - 1]
    return _widened(found)


def normalized(x: Tensor) -> Tensor:
    """Return hidden states (…, D) with mean 0 and variance 1, whatever the layer's scale."""
    return F.layer_norm(x, x.shape[-1:])


def mean_over(losses_bl: Tensor, counts_bl: Tensor) -> Tensor:
    """Return the mean of the losses that count, a scalar; 0 where none does."""
    return (losses_bl * counts_bl).sum() / counts_bl.sum().clamp(min=1)


def check_threshold(rule: ExitRule, threshold: float) -> None:
    """Raise ValueError unless a threshold is in [0, 1]."""
    if not 0 <= threshold <= 1:
        raise ValueError(
            f"{rule.name()}: threshold must be in [0, 1] (0: every token leaves at the first exit, 1: only those of "
            f"full confidence), but {threshold} was given"
        )


def check_weight(rule: ExitRule, weight: float) -> None:
    """Raise ValueError for a negative weight of a loss."""
    if weight < 0:
        raise ValueError(f"{rule.name()}: weight must be 0 or more, but {weight} was given")


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
