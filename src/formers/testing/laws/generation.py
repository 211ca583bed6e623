"""Law 15: generation equals recomputation.

A causal language model with the part in it generates, in every way of choosing tokens, what forward passes over whole
sequences give; what cannot be done is refused.

Inputs: prompts of 37 tokens and four new ones, chosen greedily, with left padding, by sampling, with beams, going on
from a returned cache, and assisted from both sides, in a model of two layers.

Exempt: parts without the ability `causal`; those without `trim` may refuse assisted generation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from formers.mixers import FeatureMap, Linear
from formers.part import Part, Site, Unsupported
from formers.positions import NoPosition
from formers.testing.compare import assert_same
from formers.testing.harness import SITE, abilities, seed_cpu

if TYPE_CHECKING:
    from formers.models import CausalLM

_WORDS, _PROMPT, _NEW = 13, 37, 4
"""Sizes: the vocabulary, the tokens of a prompt, and those generated after it."""
_LOGITS_APART = 1e-5
"""How far logits may be apart: they are computed in float64, but `generate()` returns them in float32."""


class _Continuation(NamedTuple):
    """Tokens (B, L + N), the logits that the last N were chosen from, and the cache after them, if there is one."""

    ids: Tensor
    logits_bnv: Tensor
    cache: Any = None


def generation_equals_recomputation(part: Part, site: Site = SITE) -> None:
    """A causal language model with the part in it generates what forward passes over whole sequences give.

    Greedily, with left padding, by sampling, with beams, going on from a returned cache, and assisted from both sides:
    the tokens are the same, and so are the logits that they were chosen from.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        model = _language_model(part, site)
        ids = torch.randint(_WORDS, (2, _PROMPT), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(ids)
        greedy = _by_hand(model, ids, mask, _likeliest)
        _same(_generated(model, ids), greedy, f"{part}, greedily")
        _same(_generated(model, ids, do_sample=True, top_k=0), _by_hand(model, ids, mask, _drawn), f"{part}, sampled")
        beams = [_generated(model, ids, num_beams=3, use_cache=use_cache) for use_cache in (True, False)]
        _same(beams[0], beams[1], f"{part}, with beams")
        if "padding" in abilities(part):
            mask[0, : _PROMPT // 3] = 0
            _same(
                _generated(model, ids, attention_mask=mask), _by_hand(model, ids, mask, _likeliest), f"{part}, padded"
            )
        _goes_on(model, ids, greedy, f"{part}")
        _is_assisted_or_refuses(part, model, ids[:1], site)


def _language_model(part: Part, site: Site, depth: int = 2) -> CausalLM:
    """Return a small causal language model with the part in its place, in float64, in eval mode."""
    from formers.models import CausalLM, TransformerConfig  # here, because it takes Hugging Face's library with it
    from formers.models.config import AXIS_OF

    choices: dict[str, Any] = {"position": site.position or NoPosition()}
    if isinstance(part, FeatureMap):
        choices["mixer"] = Linear(feature=part)
    else:
        choices[next(axis for axis, kind in AXIS_OF.items() if isinstance(part, kind))] = part
    config = TransformerConfig(
        **choices,
        vocab_size=_WORDS,
        width=site.width,
        heads=site.heads,
        depth=depth,
        context_length=site.context_length,
        initializer_range=0.3,
        tie_word_embeddings=False,  # tied, a model that has not learned anything likes to repeat its last token
    )
    seed_cpu(0)
    return CausalLM(config).double().eval()


def _generated(model: CausalLM, ids: Tensor, *, new: int = _NEW, **options: Any) -> _Continuation:
    """Return what `generate()` makes of a prompt, greedily unless the options say otherwise."""
    options = {"do_sample": False, "attention_mask": torch.ones_like(ids), "pad_token_id": 0} | options
    seed_cpu(1)
    out = model.generate(ids, max_new_tokens=new, return_dict_in_generate=True, output_logits=True, **options)
    return _Continuation(out.sequences, torch.stack(out.logits, 1), out.get("past_key_values"))


def _by_hand(model: CausalLM, ids: Tensor, mask: Tensor, choose: Callable[[Tensor], Tensor]) -> _Continuation:
    """Return a prompt with new tokens, each chosen from the logits of a forward pass over all tokens before it."""
    seed_cpu(1)
    logits_bnv = torch.empty(len(ids), 0, _WORDS)
    for _ in range(_NEW):
        logits_bv = model(ids, attention_mask=mask, use_cache=False).logits[:, -1].float()
        logits_bnv = torch.cat([logits_bnv, logits_bv.unsqueeze(1)], 1)
        ids = torch.cat([ids, choose(logits_bv)], 1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    return _Continuation(ids, logits_bnv)


def _likeliest(logits_bv: Tensor) -> Tensor:
    return logits_bv.argmax(-1, keepdim=True)


def _drawn(logits_bv: Tensor) -> Tensor:
    return torch.multinomial(logits_bv.softmax(-1), 1)


def _goes_on(model: CausalLM, ids: Tensor, greedy: _Continuation, what: str) -> None:
    """Check that generation in two calls, the second from the first one's cache, gives what one call does."""
    first = _generated(model, ids, new=2)
    if not model.streaming:
        assert first.cache is None, f"{what}: a model that does not stream returned a cache"
        return
    assert first.cache is not None, f"{what}: a model that streams returned no cache"
    rest = _generated(model, first.ids, new=_NEW - 2, past_key_values=first.cache)
    again = _Continuation(rest.ids, torch.cat([first.logits_bnv, rest.logits_bnv], 1))
    _same(again, greedy, f"{what}, going on from a cache")


def _is_assisted_or_refuses(part: Part, model: CausalLM, ids: Tensor, site: Site) -> None:
    """Check that tokens are the same with an assistant and as one; only without the ability trim it may be refused."""
    other = _language_model(NoPosition(), replace(site, position=None), depth=1)
    for how, main, assistant in (("assisted", model, other), ("assisting", other, model)):
        try:
            got = _generated(main, ids, assistant_model=assistant)
        except Unsupported:
            assert "trim" not in abilities(part), f"{part} declares the ability trim, but refuses {how} generation"
        else:
            _same(got, _by_hand(main, ids, torch.ones_like(ids), _likeliest), f"{part}, {how}")


def _same(got: _Continuation, want: _Continuation, what: str) -> None:
    """Raise AssertionError with the first token that differs, or with how far the logits are apart."""
    assert got.ids.shape == want.ids.shape, f"{what}: {tuple(got.ids.shape)} tokens instead of {tuple(want.ids.shape)}"
    for row, at in (got.ids != want.ids).nonzero().tolist():
        raise AssertionError(
            f"{what}: token {at} of row {row} is {int(got.ids[row, at])}, "
            f"but recomputation gives {int(want.ids[row, at])}"
        )
    assert_same(got.logits_bnv, want.logits_bnv, f"{what}: logits", _LOGITS_APART)
