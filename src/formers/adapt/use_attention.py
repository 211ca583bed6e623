"""Give a pretrained model another attention, and check that it really takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from formers.adapt.attention_cache import AttentionCache
from formers.adapt.attention_function import PREFIX, as_mixers, register
from formers.adapt.given_model import check_given_model
from formers.adapt.padding_mask import facts_of
from formers.mixers import Mixer
from formers.models.pretrained import FormersModel
from formers.part import Unsupported, evaluating

_ROWS, _TOKENS = 2, 6
"""Size of the probe: the second row is padded by half."""


def use_attention(model: PreTrainedModel, mixer: Mixer | str | Sequence[Mixer | str]) -> PreTrainedModel:
    """Let the attention layers of a model run a mixer instead, or several in turn, in place; return the model.

        model = use_attention(AutoModelForCausalLM.from_pretrained(path), "window(128) | sinks(4)")
        model.generate(**inputs)            # remembers 132 tokens a layer

    Weights stay as they are. `generate` starts on an `AttentionCache`, in which each layer keeps the mixer's own state:
    of constant size for windows and linear attention; a mixer without one reads the whole sequence for every token.

    A layer with a window of its own, as Mistral's and every other one of Gemma's, keeps it: it sees what lies in the
    window and in the mixer's pattern, so that `softmax()` changes nothing there. Mixers without a pattern are refused
    in such layers; a list gives each layer its own. Where the configuration has one window for all layers, and no
    `layer_types`, `config.sliding_window=None` takes it away beforehand, and the mixer takes its place.

    The model is then run on a few tokens: it must call the attention once in every layer, padding must change nothing,
    and a causal model must give the same token by token. Raise Unsupported, and leave the model as it was, for one
    that does not: some families take the name and compute their own attention all the same.
    """
    check_given_model(model)
    if isinstance(model, FormersModel):
        raise Unsupported(f"a {type(model).__name__} has its own mixers; exchange them with formers.adapt.convert")
    before = model.config._attn_implementation
    mixers = as_mixers(mixer)
    name, streams = register(mixers), all("streaming" in part.abilities for part in mixers)
    try:
        model.set_attn_implementation(name)
        _check_model(model, name, streams)
    except Exception as error:
        model.set_attn_implementation(before)
        if isinstance(error, Unsupported):
            raise
        raise Unsupported(f"{type(model).__name__} cannot run {name}: {type(error).__name__}: {error}") from error
    if hasattr(model, "_prepare_cache_for_generation"):
        prepare = type(model)._prepare_cache_for_generation
        model._prepare_cache_for_generation = MethodType(partial(_start_on_states, prepare, streams), model)
    return model


def _start_on_states(
    prepare: Any,
    streams: bool,
    model: PreTrainedModel,
    generation_config: Any,
    model_kwargs: dict[str, Any],
    *more: Any,
) -> Any:
    """Start generation on an `AttentionCache`, where a cache is wanted and none was given; without one for mixers that
    keep no state."""
    ours = model.config._attn_implementation.startswith(PREFIX)
    if ours and not streams:
        generation_config.use_cache = False
    elif ours and generation_config.use_cache is not False and generation_config.cache_implementation is None:
        model_kwargs.setdefault("past_key_values", AttentionCache())
    return prepare(model, generation_config, model_kwargs, *more)


def _check_model(model: PreTrainedModel, name: str, streams: bool) -> None:
    """Raise Unsupported unless the model calls its attention in every layer, with padding and direction."""
    if model.main_input_name != "input_ids" or model.config.is_encoder_decoder:
        raise Unsupported(f"{type(model).__name__} does not read one sequence of tokens, so that it cannot be checked")
    ids = torch.arange(_ROWS * _TOKENS, device=model.device).view(_ROWS, _TOKENS) % (model.config.vocab_size - 3) + 3
    layers = model.config.num_hidden_layers
    with evaluating(model):
        with _directions_of_calls(name) as causal:
            whole = _outputs(model, ids)
        if len(causal) != layers:
            taken = "ignores it" if not causal else f"calls it {len(causal)} times"
            raise Unsupported(f"{type(model).__name__} takes the name {name} and {taken}, in {layers} layers")
        _check_padding(model, ids, on_the_left=causal[0])
        if causal[0] and streams and _may_generate(model):
            _check_same(model, _in_steps(model, ids), whole, "single steps differ from one pass")


def _check_padding(model: PreTrainedModel, ids: Tensor, *, on_the_left: bool) -> None:
    """Raise Unsupported if a padded row differs from the same row alone.

    On the left, as generation has it, positions are given; else each family counts them in its own way.
    """
    half = _TOKENS // 2
    real = slice(half, None) if on_the_left else slice(None, half)
    mask = torch.zeros_like(ids)
    mask[0], mask[1, real] = 1, 1
    positions = (mask.cumsum(1) - 1).clamp(min=0) if on_the_left else None
    padded = _outputs(model, ids.masked_fill(mask == 0, model.config.pad_token_id or 0), mask, positions)
    _check_same(model, padded[1:, real], _outputs(model, ids[1:, real]), "a padded row differs from the same row alone")


@contextmanager
def _directions_of_calls(name: str) -> Iterator[list[bool]]:
    """Collect, for each call of the attention function of this name, whether it was a causal one."""
    calls: list[bool] = []
    function = AttentionInterface()[name]

    def noted(module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *args: Any, **kwargs: Any) -> Any:
        facts = facts_of(mask)
        calls.append(facts is not None and facts.causal)
        return function(module, q, k, v, mask, *args, **kwargs)

    AttentionInterface.register(name, noted)
    try:
        yield calls
    finally:
        AttentionInterface.register(name, function)


def _may_generate(model: PreTrainedModel) -> bool:
    """Return whether the model has a cache of its own to replace."""
    return hasattr(model, "prepare_inputs_for_generation")


def _outputs(
    model: PreTrainedModel, ids: Tensor, mask: Tensor | None = None, positions: Tensor | None = None
) -> Tensor:
    """Return the first output of a model, logits or hidden states, (B, L, …), without a cache."""
    options: dict[str, Any] = {} if positions is None else {"position_ids": positions}
    options |= {"use_cache": False} if _may_generate(model) else {}
    out: Tensor = model(input_ids=ids, attention_mask=mask, **options)[0]
    return out


def _in_steps(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Return the outputs of all but two tokens at once, and of these one by one."""
    cache, pieces = AttentionCache(), (ids[:, :-2], ids[:, -2:-1], ids[:, -1:])
    return torch.cat([model(input_ids=piece, past_key_values=cache, use_cache=True)[0] for piece in pieces], 1)


def _check_same(model: PreTrainedModel, got: Tensor, want: Tensor, what: str) -> None:
    """Raise Unsupported if outputs differ by more than rounding, of a size that layers can make of it."""
    allowed = 64 * model.config.num_hidden_layers * torch.finfo(want.dtype).eps * float(want.abs().max())
    difference = float((got - want).abs().max())
    if not difference <= allowed:
        raise Unsupported(f"{type(model).__name__}: {what}, by {difference:.1e}: it does more than the attention")
