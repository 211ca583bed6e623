"""Small models with early exits in float64, and their naive form: every layer of every token, exits picked after."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from formers import CausalLM, TransformerConfig
from formers.computation import EarlyExit, ExitRule
from formers.computation.confidence_rules import Classifier, Margin, Saturation
from formers.computation.depth_predictors import GeometricDepth, MultinomialDepth, SequenceDepth

DEPTH, WIDTH, VOCAB, LENGTH = 4, 24, 13, 40

RULES: list[ExitRule] = [
    Margin(threshold=0.25),
    Margin(threshold=0.3, decay=3.0),
    Saturation(threshold=0.9),
    Saturation(threshold=0.9, decay=20.0),
    Classifier(threshold=0.55),
    GeometricDepth(threshold=0.5),
    MultinomialDepth(),
    SequenceDepth(),
]
"""Rules and thresholds with which tokens of `model` leave at several layers."""


def model(rule: ExitRule, **options: object) -> CausalLM:
    """A model whose exits differ from each other, in float64 and evaluation."""
    torch.manual_seed(1)
    part = EarlyExit(rule=rule, **{k: options.pop(k) for k in ("heads", "training", "weights") if k in options})
    sizes = {"vocab_size": VOCAB, "width": WIDTH, "depth": DEPTH, "heads": 3, "context_length": LENGTH}
    config = TransformerConfig(**sizes, computation=part, initializer_range=0.25, **options)
    made = CausalLM(config).double().eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in made.model.computation.rule.parameters():
            parameter.normal_(0.0, 0.3 if parameter.ndim > 1 else 0.0)
    return made


def batch(rows: int = 3, length: int = 11) -> tuple[Tensor, Tensor]:
    """Tokens of rows of several lengths, padded on the left, and their mask."""
    torch.manual_seed(2)
    ids = torch.randint(VOCAB, (rows, length))
    padding_b = torch.tensor([0, 4, 2, 7, 1][:rows])
    return ids, (torch.arange(length) >= padding_b[:, None]).long()


@torch.no_grad()
def naive(model: CausalLM, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and depths of every token by the definition, from tokens alone."""
    backbone, real_bl = model.model, mask.bool()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    x = backbone.embed_tokens(ids)
    depth_bl = torch.full_like(ids, DEPTH)
    planned = isinstance(model.config.computation.rule, (MultinomialDepth, SequenceDepth))
    for n, layer in enumerate(backbone.layers, 1):
        before = x
        after, _ = layer(x, mask_bl=real_bl, positions_bl=positions)
        x = torch.where((depth_bl >= n)[..., None], after, x)
        if n < DEPTH and (n == 1 or not planned):
            found_bl = _depths(model, n, x, before, positions, real_bl)
            depth_bl = torch.where(depth_bl >= n, found_bl, depth_bl).clamp(max=DEPTH)
    normed = backbone.norm(x)
    heads = [model.exits.at(n, normed, model.lm_head) for n in range(1, DEPTH + 1)]
    logits = torch.stack(heads, -1).gather(-1, (depth_bl - 1)[..., None, None].expand(*ids.shape, VOCAB, 1))
    return logits.squeeze(-1), depth_bl * real_bl


def _depths(model: CausalLM, n: int, x: Tensor, before: Tensor, positions: Tensor, real_bl: Tensor) -> Tensor:
    """n where the rule lets a token leave behind layer n, more elsewhere; or the depth that a rule plans."""
    rule, module = model.config.computation.rule, model.model.computation.rule
    scaled = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    if isinstance(rule, MultinomialDepth):
        return module.depth_proj(scaled).argmax(-1) + 1
    if isinstance(rule, SequenceDepth):
        sums = torch.stack([(scaled * real_bl[..., None])[:, : t + 1].sum(1) for t in range(x.shape[1])], 1)
        counts = torch.stack([real_bl[:, : t + 1].sum(1) for t in range(x.shape[1])], 1).clamp(min=1)
        return module.depth_proj(sums / counts[..., None]).argmax(-1) + 1
    threshold = torch.tensor(rule.threshold, dtype=x.dtype)
    if getattr(rule, "decay", None) is not None:
        threshold = (0.9 * threshold + 0.1 * torch.exp(-rule.decay * positions / LENGTH)).clamp(0, 1)
    if isinstance(rule, Margin):
        p = model.exits.at(n, model.model.norm(x), model.lm_head).softmax(-1).sort(-1).values
        confidence = p[..., -1] - p[..., -2]
    elif isinstance(rule, Saturation):
        confidence = (x * before).sum(-1) / (x.norm(dim=-1) * before.norm(dim=-1))
        confidence = confidence if n > 1 else torch.full_like(confidence, -2.0)
    else:
        linear = module.confidence_proj if isinstance(rule, Classifier) else module.halt_proj
        confidence = torch.sigmoid(F.linear(scaled, linear.weight, linear.bias)[..., n - 1])
    return torch.where(confidence >= threshold, n, DEPTH)


@torch.no_grad()
def naive_greedy(model: CausalLM, ids: Tensor, mask: Tensor, count: int) -> Tensor:
    """Tokens by recomputation: the whole sequence in the naive form for each."""
    for _ in range(count):
        logits, _ = naive(model, ids, mask)
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    return ids
