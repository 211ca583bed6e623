"""The heads of a causal language model at its early exits, and what they learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from formers.computation.depth_oracles import ExitScores
from formers.computation.early_exit import EarlyExit
from formers.computation.exit_rules import ExitRuleModule
from formers.models.config import TransformerConfig
from formers.models.losses import IGNORED, next_token_loss
from formers.ops import can_read
from formers.part import Unsupported

Head = Callable[[Tensor], Tensor]
"""Hidden states (…, D) → scores, or normalised hidden states."""


class ExitHeads(nn.Module):
    """A projection to the vocabulary at each exit: the model's own, or with `heads=own` one each but at the last.

    Hidden states come with the norm at the end applied.
    """

    def __init__(self, part: EarlyExit, depth: int, *, width: int, vocab_size: int):
        super().__init__()
        self.part, self.depth, self.weights = part, depth, part.exit_weights(depth)
        own = range(depth - 1 if part.heads == "own" else 0)
        self.projections = nn.ModuleList(nn.Linear(width, vocab_size, bias=False) for _ in own)

    def resize_other_tables(self, resized: Callable[[nn.Module], nn.Module]) -> None:
        """Change the number of tokens that exits of their own score; see `FormersModel.resize_token_embeddings`."""
        self.projections = nn.ModuleList(map(resized, self.projections))

    def at(self, number: int, hidden: Tensor, lm_head: Head) -> Tensor:
        """Return the scores of exit `number`, from 1, (…, V), of hidden states (…, D)."""
        head: Head = self.projections[number - 1] if self.projections and number < self.depth else lm_head
        return head(hidden)

    def scores(self, hidden_bld: Tensor, steps_bl: Tensor | None, lm_head: Head) -> Tensor:
        """Return the scores of the exit that each token has left at, (B, L, V)."""
        if steps_bl is None or not self.projections:
            return self.at(self.depth, hidden_bld, lm_head)
        if steps_bl.numel() == 1 and can_read(steps_bl) and not self.training:
            return self.at(int(steps_bl), hidden_bld, lm_head)
        scores_blv = self.at(self.depth, hidden_bld, lm_head)
        for number in range(1, self.depth):  # all of them, so that each has a gradient
            here_bl1 = (steps_bl == number).unsqueeze(-1).to(scores_blv.device)
            scores_blv = torch.where(here_bl1, self.at(number, hidden_bld, lm_head).to(scores_blv.device), scores_blv)
        return scores_blv

    def aligned_loss(
        self,
        hidden: Sequence[Tensor],
        labels: Tensor,
        count: Tensor | int | None,
        *,
        norm: Head,
        lm_head: Head,
        rule: ExitRuleModule,
        first: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Return Σ_n ω_n·L_n / Σ_n ω_n, and what the rule learns, None where that is nothing.

        Args:
            hidden: hidden states behind each layer, (B, L, D); the last with the norm at the end applied.
            labels, count: as in `next_token_loss`.
            first: of the first layer, what the rule `reads`.
        """
        normed = [*map(norm, hidden[:-1]), hidden[-1]]
        logits = [self.at(number, h, lm_head) for number, h in enumerate(normed, 1)]
        losses = [
            weight * next_token_loss(one, labels, count) for weight, one in zip(self.weights, logits, strict=True)
        ]
        learns = self.part.rule.learns
        learnt = rule.loss([h[:, :-1] for h in (first, *hidden[1:])], _exit_scores(logits, labels)) if learns else None
        return torch.stack(losses).sum(), learnt


@torch.no_grad()
def _exit_scores(logits: Sequence[Tensor], labels: Tensor) -> ExitScores:
    """Return the scores that exits give to the next tokens."""
    targets_bl = labels[:, 1:].long()
    counts_bl = targets_bl != IGNORED
    some_bl1 = targets_bl.masked_fill(~counts_bl, 0).unsqueeze(-1)
    log_p, best = list[Tensor](), list[Tensor]()
    for one in logits:
        scores_blv = one[:, :-1].float() if one.dtype in (torch.float16, torch.bfloat16) else one[:, :-1]
        log_p.append(scores_blv.gather(-1, some_bl1).squeeze(-1) - scores_blv.logsumexp(-1))
        best.append(scores_blv.argmax(-1))
    return ExitScores(torch.stack(log_p, -1), torch.stack(best, -1), targets_bl, counts_bl)


def build_exits(config: TransformerConfig) -> ExitHeads | None:
    """Return the heads at the exits of a model; None where its computation has none.

    Raise Unsupported where a layer does not stream.
    """
    if not isinstance(config.computation, EarlyExit):
        return None
    mixers = [config.mixer_at(layer) for layer in range(config.depth)]
    why = [mixer.no_state() for mixer in mixers if "streaming" not in mixer.abilities]
    why += [f"{config.ffn} takes in neighbouring tokens, and keeps none of them as a state"] * config.ffn.mixes_tokens
    if why:
        raise Unsupported(
            f"{why[0]}; {config.computation} generates from states, to which tokens that leave early add theirs. Use a "
            "mixer that streams, such as softmax(), and a feed-forward of single tokens; or computation=fixed()"
        )
    return ExitHeads(config.computation, config.depth, width=config.width, vocab_size=config.vocab_size)
