"""Mixers as attention functions of Hugging Face's attention interface, with the mask functions that belong to them.

Hugging Face hands an attention function queries, keys and values with their position applied, and whatever the mask
function of the same name made of padding and direction (`padding_mask`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from formers.adapt.attention_cache import layer_of
from formers.adapt.attention_core import attention_core, shares_keys
from formers.adapt.own_window import in_window
from formers.adapt.padding_mask import MaskFacts, PaddingMask, facts_of, padding_mask
from formers.mixers import Mixer
from formers.mixers.context import Context, count_tokens
from formers.mixers.qkv import QKV
from formers.part import Unsupported

PREFIX = "formers:"
"""How the names begin that Hugging Face knows our mixers by."""
_UNKNOWN = {
    "softcap": "a cap on its scores",
    "s_aux": "learned attention sinks",
    "position_bias": "a bias by position",
    "cu_seq_lens_q": "packed sequences; give each a row, padded",
}
"""What a model may hand to its attention that changes the result, and that no mixer here takes."""


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
        facts = _check_call(module, attention_mask, dropout, more)
        assert isinstance(attention_mask, PaddingMask)
        mixer = in_window(mixers[_layer_number(module, len(mixers)) % len(mixers)], facts.window)
        y_bhlv = _attend(mixer, module, (query, key, value), attention_mask.plain(), facts, scaling)
        return y_bhlv.transpose(1, 2).contiguous(), None

    return attend


def _attend(
    mixer: Mixer,
    module: nn.Module,
    qkv: tuple[Tensor, Tensor, Tensor],
    mask_bs: Tensor,
    facts: MaskFacts,
    scaling: float | None,
) -> Tensor:
    """Return y (B, H, L, V) of new tokens, and move their layer of the cache on."""
    layer, (q, k, v) = layer_of(qkv[1]), qkv
    q, k = (t.to(v.dtype) for t in (q, k))  # under autocast, positions and norms leave them in float32
    heads, length, head_width = q.shape[1:]
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
        device=q.device,
    )
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


def _check_call(module: nn.Module, attention_mask: Tensor | None, dropout: float, more: dict[str, Any]) -> MaskFacts:
    """Return what the mask tells. Raise Unsupported for a call that asks for more than queries, keys, values and it."""
    model, facts = type(module).__name__, facts_of(attention_mask)
    if facts is None:
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
    own: int | None = more.get("sliding_window")
    # in both directions, some count the token itself among those of a side
    if own != facts.window and not (own and facts.window and not facts.causal and own == facts.window + 1):
        raise Unsupported(f"{model} has a window of {own} tokens, and its mask one of {facts.window}")
    return facts


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
