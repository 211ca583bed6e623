"""Mixers as attention functions of Hugging Face's attention interface, with the mask functions that belong to them.

Hugging Face hands an attention function queries, keys and values with their position applied, and whatever the mask
function of the same name made of padding and direction. Here that is the padding mask itself, which also says in which
direction tokens see each other; so nothing is lost on the way, or the model is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

from formers.adapt.attention_cache import layer_of
from formers.adapt.attention_core import attention_core, shares_keys
from formers.mixers import Mixer
from formers.mixers.context import Context, count_tokens
from formers.mixers.qkv import QKV
from formers.part import Unsupported

PREFIX = "formers:"
"""How the names begin that Hugging Face knows our mixers by."""
_FACTS = "_formers_facts"
"""The attribute by which a padding mask tells what else the mask function knew."""
_UNKNOWN = {
    "sliding_window": "a window of its own; set config.sliding_window=None: the mixer's pattern takes its place",
    "softcap": "a cap on its scores",
    "s_aux": "learned attention sinks",
    "position_bias": "a bias by position",
    "cu_seq_lens_q": "packed sequences; give each a row, padded",
}
"""What a model may hand to its attention that changes the result, and that no mixer here takes."""


class _MaskFacts(NamedTuple):
    """What a mask function knew beside padding: the direction, and whether all new tokens are real."""

    causal: bool
    new_are_real: bool


def register(mixer: Mixer | str | Sequence[Mixer | str]) -> str:
    """Make a mixer, or several that layers cycle through, known to Hugging Face; return its `attn_implementation`.

        name = register("window(128) | global(0)")
        model = AutoModelForCausalLM.from_pretrained(path, attn_implementation=name)

    The model keeps its weights; its attention is softmax over the pairs of the pattern, or linear attention over
    features of its queries and keys, … `use_attention` also checks that the model really calls it, and generates with
    the right cache.

    Raise Unsupported for a mixer with weights of its own.
    """
    parts = as_mixers(mixer)
    for part in set(parts):
        attention_core(part, heads=2, head_width=4, causal="causal" in part.abilities, layer=0, longest=1 << 20)
    name = PREFIX + (str(parts[0]) if len(parts) == 1 else str(parts))
    AttentionInterface.register(name, _attention_function(parts))
    AttentionMaskInterface.register(name, padding_mask)
    return name


def as_mixers(mixer: Mixer | str | Sequence[Mixer | str]) -> list[Mixer]:
    """Return the mixers that layers cycle through, of one or several parts or texts. Raise ValueError for none."""
    mixers = [mixer] if isinstance(mixer, (Mixer, str)) else list(mixer)
    if not mixers:
        raise ValueError("no mixer was given; give one, or a list that layers cycle through")
    return [Mixer.parse(one) if isinstance(one, str) else one for one in mixers]


def padding_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    device: torch.device | None = None,
    **unused: Any,
) -> Tensor:
    """Return which keys are real tokens, (B, S), with the direction: Hugging Face's mask function for all mixers.

    Raise Unsupported for any other mask than causal or bidirectional, and for caches of fixed size.
    """
    if mask_function not in (causal_mask_function, bidirectional_mask_function):
        raise Unsupported(
            "the model masks more than padding and the future (a window of its own, packed sequences, blocks of an "
            "image); a mixer would not see it. Set config.sliding_window=None, or give each sequence a row, padded"
        )
    causal = mask_function is causal_mask_function
    if kv_offset or (causal and kv_length != int(q_offset) + q_length):
        raise Unsupported("caches of fixed size hold keys that are not there yet; use formers.adapt.AttentionCache()")
    mask_bs = torch.ones(batch_size, kv_length, dtype=torch.bool, device=device)
    if attention_mask is not None:
        mask_bs = attention_mask[:, :kv_length].to(torch.bool).clone()
    real = attention_mask is None or bool(mask_bs[:, kv_length - q_length :].all())  # read once for all layers
    setattr(mask_bs, _FACTS, _MaskFacts(causal, real))
    return mask_bs


def is_causal(padding_mask_bs: Tensor) -> bool:
    """Return whether a mask of `padding_mask` stands for a causal one; False for a foreign mask."""
    facts: _MaskFacts | None = getattr(padding_mask_bs, _FACTS, None)
    return facts is not None and facts.causal


def _attention_function(mixers: Sequence[Mixer]) -> Callable[..., tuple[Tensor, None]]:
    """Return the mixers, which layers cycle through, in the form that Hugging Face calls."""

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """Return the attention's output (B, L, H, V), and no weights."""
        _check_call(module, attention_mask, dropout, more)
        assert attention_mask is not None
        mixer = mixers[_layer_number(module, len(mixers)) % len(mixers)]
        y_bhlv = _attend(mixer, module, (query, key, value), attention_mask, scaling)
        return y_bhlv.transpose(1, 2).contiguous(), None

    return attend


def _attend(
    mixer: Mixer, module: nn.Module, qkv: tuple[Tensor, Tensor, Tensor], mask_bs: Tensor, scaling: float | None
) -> Tensor:
    """Return y (B, H, L, V) of new tokens, and move their layer of the cache on."""
    layer, (q, k, v) = layer_of(qkv[1]), qkv
    q, k = (t.to(v.dtype) for t in (q, k))  # under autocast, positions and norms leave them in float32
    heads, length, head_width = q.shape[1:]
    facts: _MaskFacts = getattr(mask_bs, _FACTS)
    if layer is not None and "streaming" not in mixer.abilities:
        raise Unsupported(f"{mixer.no_state()}; generate with use_cache=False")
    seen = layer.length if layer is not None else 0
    _check_lengths(module, q, k, mask_bs, seen)
    if scaling is not None:
        q = q * (scaling * head_width**0.5)  # the mixer divides by √K
    if not shares_keys(mixer):
        k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    core = attention_core(
        mixer,
        heads=heads,
        head_width=head_width,
        causal=facts.causal,
        layer=_layer_number(module, 1),
        longest=getattr(getattr(module, "config", None), "max_position_embeddings", None) or 1 << 20,
    ).to(q.device)
    x_bl1 = q.new_zeros(len(q), length, 1)  # the mixer asks it for sizes only
    mask_bl = None if facts.new_are_real else mask_bs[:, seen:]
    state = None if layer is None else layer.state
    context = Context(x_bl1, count_tokens(x_bl1, mask_bl, state) - 1, mask_bl, state, keep_state=layer is not None)
    y_bhlv, after = core.attend(QKV(q, k, v), context)
    if layer is not None and after is not None:
        layer.move_on(after, mask_bs, length)
    return y_bhlv


def _layer_number(module: nn.Module, mixers: int) -> int:
    """Return the number of the attention's layer, 0 where nothing tells it. Raise Unsupported if several mixers ask."""
    number: int | None = getattr(module, "layer_idx", None)
    if number is None and mixers > 1:
        raise Unsupported(f"{type(module).__name__} does not number its layers; give one mixer for all of them")
    return number or 0


def _check_call(module: nn.Module, attention_mask: Tensor | None, dropout: float, more: dict[str, Any]) -> None:
    """Raise Unsupported for a call that asks for more than queries, keys, values and padding."""
    model = type(module).__name__
    if attention_mask is None or not hasattr(attention_mask, _FACTS):
        raise Unsupported(
            f"{model} does not take its mask from Hugging Face's mask functions, so that padding or direction would be "
            "lost; convert the model instead, or keep its own attention"
        )
    if dropout:
        raise Unsupported(f"{model} drops attention weights (p={dropout}), which mixers never form; set it to 0")
    for name, what in _UNKNOWN.items():
        if more.get(name) is not None:
            raise Unsupported(f"{model} has {what} ({name})")
    if more.get("output_attentions"):
        raise Unsupported(f"{model} was asked for attention weights, which mixers never form")


def _check_lengths(module: nn.Module, q: Tensor, k: Tensor, mask_bs: Tensor, seen: int) -> None:
    """Raise Unsupported unless the keys are those of the queries' own tokens."""
    length, keys = q.shape[2], k.shape[2]
    if length == keys and mask_bs.shape[1] == seen + length:
        return
    what = f"{type(module).__name__} attends from {length} tokens to {keys}"
    if mask_bs.shape[1] > length:
        raise Unsupported(
            f"{what}, the earlier ones from a cache of keys and values, but each mixer keeps a state of its own; pass "
            "past_key_values=formers.adapt.AttentionCache() from the first call on, as use_attention does for "
            "generate(), or use_cache=False"
        )
    raise Unsupported(f"{what}: it attends to another sequence, which mixers cannot; keep its own attention there")
