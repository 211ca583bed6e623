"""Training of exits: the losses by their formulas, and what rules learn, from which gradients reach where."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from exit_models import DEPTH, RULES, VOCAB, batch, model
from torch import Tensor
from torch.nn import functional as F

from formers import CausalLM
from formers.computation import Classifier, ExitRule, GeometricDepth, Last, Likelihood, MultinomialDepth, SequenceDepth
from formers.computation.depth_predictors import geometric_log_q
from formers.part import Unsupported


def labelled() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their mask, and labels, of which padding does not count."""
    ids, mask = batch()
    return ids, mask, ids.masked_fill(mask == 0, -100)


def behind_layers(made: CausalLM, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """Hidden states behind each layer, by hand."""
    x, positions = made.model.embed_tokens(ids), (mask.cumsum(-1) - 1).clamp(min=0)
    found = []
    for layer in made.model.layers:
        x, _ = layer(x, mask_bl=mask.bool(), positions_bl=positions)
        found.append(x)
    return found


def losses_at(made: CausalLM, hidden: list[Tensor], labels: Tensor) -> list[Tensor]:
    """Cross-entropies of the next tokens, (B, L − 1), at each exit; 0 where the label does not count."""
    heads = [made.exits.at(n, made.model.norm(h), made.lm_head) for n, h in enumerate(hidden, 1)]
    return [F.cross_entropy(h[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none") for h in heads]


@pytest.mark.parametrize("weights", ["linear", "uniform", (0.0, 0.0, 2.0, 1.0)], ids=str)
@pytest.mark.parametrize("heads", ["shared", "own"])
def test_aligned_training_is_the_weighted_mean_over_exits(heads: str, weights: Any) -> None:
    made = model(Last(), heads=heads, weights=weights).train()
    ids, mask, labels = labelled()
    out = made(ids, attention_mask=mask, labels=labels)
    count = (labels[:, 1:] != -100).sum()
    means = [loss.sum() / count for loss in losses_at(made, behind_layers(made, ids, mask), labels)]
    omega = {"linear": [1, 2, 3, 4], "uniform": [1] * 4}.get(weights, weights)
    want = sum(w * mean for w, mean in zip(omega, means, strict=True)) / sum(omega)
    torch.testing.assert_close(out.loss, want)
    torch.testing.assert_close(
        made(ids, attention_mask=mask, labels=labels, num_items_in_batch=2 * count).loss, want / 2
    )
    assert out.hidden_states is None
    made.eval()
    torch.testing.assert_close(made(ids, attention_mask=mask, labels=labels).loss, means[-1])


@pytest.mark.parametrize("heads", ["shared", "own"])
def test_mixed_training_draws_an_exit_for_each_token_and_copies_its_state_up(heads: str) -> None:
    made = model(Last(), heads=heads, training="mixed").train()
    ids, mask, labels = labelled()
    torch.manual_seed(5)
    out = made(ids, attention_mask=mask, labels=labels)
    assert set(out.steps.flatten().tolist()) == set(range(1, DEPTH + 1))
    x, positions = made.model.embed_tokens(ids), (mask.cumsum(-1) - 1).clamp(min=0)
    for n, layer in enumerate(made.model.layers, 1):
        after, _ = layer(x, mask_bl=mask.bool(), positions_bl=positions)
        x = torch.where((out.steps >= n)[..., None], after, x)
    losses = torch.stack(losses_at(made, [x] * DEPTH, labels), -1)
    chosen = losses.gather(-1, (out.steps[:, :-1] - 1)[..., None])
    torch.testing.assert_close(out.loss, chosen.sum() / (labels[:, 1:] != -100).sum())
    out.loss.backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_draws_are_even() -> None:
    made = model(Last(), training="mixed").train()
    torch.manual_seed(0)
    steps = made(torch.zeros(20, 100, dtype=torch.long)).steps
    counts = torch.bincount(steps.flatten(), minlength=DEPTH + 1)[1:].double()
    assert ((counts / 2000 - 0.25).abs() < 3 * math.sqrt(0.25 * 0.75 / 2000)).all()


def test_checkpointed_is_plain() -> None:
    found = []
    for checkpointed in (False, True):
        made = model(Classifier()).train()
        if checkpointed:
            made.gradient_checkpointing_enable({"use_reentrant": False})
        ids, mask, labels = labelled()
        loss = made(ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in made.parameters())])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again)


def without_rule(made: CausalLM) -> CausalLM:
    """The same model without a rule that learns."""
    bare = model(Last()).train()
    bare.load_state_dict(made.state_dict(), strict=False)
    return bare


def rule_loss(made: CausalLM, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """The loss that the rule adds."""
    whole, bare = (one(ids, attention_mask=mask, labels=labels).loss for one in (made, without_rule(made)))
    return whole - bare


def test_the_classifier_learns_agreement_with_the_last_exit_and_moves_nothing_else() -> None:
    made = model(Classifier(weight=0.5)).train()
    ids, mask, labels = labelled()
    added = rule_loss(made, ids, mask, labels)
    hidden = behind_layers(made, ids, mask)
    best = [made.lm_head(made.model.norm(h)).argmax(-1)[:, :-1] for h in hidden]
    linear, total = made.model.computation.rule.confidence_proj, 0.0
    counts = labels[:, 1:] != -100
    for n in range(DEPTH - 1):
        x = F.layer_norm(hidden[n], hidden[n].shape[-1:])[:, :-1]
        p = torch.sigmoid(x @ linear.weight[n] + linear.bias[n])
        agrees = (best[n] == best[-1]).double()
        total = total - ((agrees * p.log() + (1 - agrees) * (1 - p).log()) * counts).sum() / counts.sum()
    torch.testing.assert_close(added, 0.5 * total / (DEPTH - 1))
    bare = without_rule(made)
    for one in (made, bare):
        one(ids, attention_mask=mask, labels=labels).loss.backward()
    others = dict(bare.named_parameters())
    for name, parameter in made.named_parameters():
        if name in others:
            torch.testing.assert_close(parameter.grad, others[name].grad)
        else:
            assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("rule", [MultinomialDepth, GeometricDepth, SequenceDepth])
def test_predictors_learn_the_oracle_by_cross_entropy(rule: type[MultinomialDepth]) -> None:
    made = model(rule(oracle=Likelihood(penalty=0.01), weight=0.3)).train()
    ids, mask, labels = labelled()
    added = rule_loss(made, ids, mask, labels)
    hidden, counts = behind_layers(made, ids, mask), labels[:, 1:] != -100
    scores = -torch.stack(losses_at(made, hidden, labels), -1)
    normed = [F.layer_norm(h, h.shape[-1:])[:, :-1] for h in hidden]
    penalty = 0.01 * torch.arange(1, DEPTH + 1)
    module, q_star = made.model.computation.rule, (scores - penalty).argmax(-1)
    if rule is GeometricDepth:
        linear = module.halt_proj
        ones = [torch.sigmoid(x @ w + b) for x, w, b in zip(normed, linear.weight, linear.bias, strict=False)]
        chi = torch.stack(ones, -1)
        q = [chi[..., n] * (1 - chi[..., :n]).prod(-1) for n in range(DEPTH - 1)] + [(1 - chi).prod(-1)]
        log_q = torch.stack(q, -1).log()
    elif rule is MultinomialDepth:
        log_q = module.depth_proj(normed[0]).log_softmax(-1)
    else:
        real = mask[:, :-1, None].double()
        mean = (normed[0] * real).cumsum(1) / real.cumsum(1).clamp(min=1)
        log_q = module.depth_proj(mean).log_softmax(-1)
        of_row = (scores * counts[..., None]).sum(1) / counts.sum(1, keepdim=True) - penalty
        q_star = of_row.argmax(-1)[:, None].expand(q_star.shape)
    want = -(log_q.gather(-1, q_star[..., None]).squeeze(-1) * counts).sum() / counts.sum()
    torch.testing.assert_close(added, 0.3 * want)


LEARNING = {
    Classifier(threshold=1.0): "confidence_proj",
    GeometricDepth(threshold=1.0): "halt_proj",
    MultinomialDepth(): "depth_proj",
    SequenceDepth(): "depth_proj",
}
"""Rules that learn, and their projection."""


@pytest.mark.parametrize("kept", [0, 4])
@pytest.mark.parametrize("rule", LEARNING, ids=str)
def test_rules_learn_from_what_they_decide_on(rule: ExitRule, kept: int) -> None:
    made, (ids, mask, labels) = model(rule), labelled()
    prompted = labels.clone()
    prompted[:, :5] = -100
    read: list[Tensor] = []
    getattr(made.model.computation.rule, LEARNING[rule]).register_forward_hook(lambda *call: read.append(call[1][0]))
    with torch.no_grad():
        made.eval()(ids, attention_mask=mask)
        decided = read.copy()
        read.clear()
        made.train()(ids, attention_mask=mask, labels=prompted[:, -kept:], logits_to_keep=kept)
    assert len(read) == len(decided)
    real = mask[:, -kept:].bool()[:, :-1]
    for learnt, seen in zip(read, decided, strict=True):
        torch.testing.assert_close(learnt[real], seen[:, -kept:][:, :-1][real])


def test_a_mean_of_rows_is_not_learnt_from_documents() -> None:
    made, (ids, _, labels) = model(SequenceDepth()).train(), labelled()
    documents = (torch.arange(ids.shape[1]) > 5).long().expand_as(ids)
    with pytest.raises(Unsupported, match="takes the mean of a row, but rows hold several documents"):
        made(ids, seq_idx=documents, labels=labels)
    model(MultinomialDepth()).train()(ids, seq_idx=documents, labels=labels).loss.backward()


def test_the_geometric_distribution_sums_to_one() -> None:
    log_q = geometric_log_q(torch.randn(2, 3, 5, dtype=torch.float64))
    assert log_q.shape[-1] == 6
    torch.testing.assert_close(log_q.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.learns], ids=str)
def test_what_rules_learn_lowers_their_loss(rule: ExitRule) -> None:
    made = model(rule).train()
    ids, mask, labels = labelled()
    optimizer = torch.optim.Adam(made.model.computation.rule.parameters(), lr=0.03)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = made(ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.002
    assert made.config.vocab_size == VOCAB
