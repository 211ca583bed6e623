"""Hugging Face's `generate()` on the states of any mixers, and without states where a mixer has none."""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar

from torch import Tensor
from transformers import GenerationMixin
from transformers.generation import GenerationMode

from formers.models.cache import StateCache, holds_states
from formers.models.config import TransformerConfig
from formers.models.spare_tensors import lend_tensors
from formers.models.static_cache import StaticStateCache
from formers.part import Unsupported


class StateGenerationMixin(GenerationMixin):  # type: ignore[misc]
    """The side of a causal language model that `generate()` sees: whatever the way, it equals recomputation.

    A streaming model goes on from its states, in a `StateCache`. One that does not stream reads the whole sequence
    again for every new token, also with `use_cache=True`: each costs a forward pass over everything before it.

    `generate()` raises Unsupported at once for what the model cannot follow: assisted generation, on either side, where
    a layer's state cannot forget tokens; embeddings as a prompt without states; continuous batching; other caches.
    """

    config: TransformerConfig
    model: Any
    own_mask: ClassVar[str] = "attention_mask"
    "The name of the mask of the tokens that are continued."
    _longest_compiled_cache: int = 0
    "Tokens that the largest static cache of a compiled step had room for."

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # not a tensor per layer, but whatever state each mixer has

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: dict[str, Any], generation_mode: Any, *sizes: int
    ) -> None:
        """Start generation on an empty `StateCache`, or without one; `generation_config` is this call's own copy."""
        past = model_kwargs.get("past_key_values")
        if past is not None:
            self._check_past(past, generation_config, model_kwargs.get(self.own_mask))
        made = None
        if generation_config.cache_implementation == "static" and past is None:
            made = self._static_cache(generation_config, generation_mode, sizes[-1])
            generation_config.cache_implementation = None  # which transformers says that it ignores
        elif isinstance(past, StaticStateCache):
            self._check_room(past, generation_mode, sizes[-1])
        elif generation_config.cache_implementation not in (None, "dynamic", "static"):
            raise Unsupported(
                f"cache_implementation={generation_config.cache_implementation!r} is for keys and values, but each "
                "mixer keeps a state of its own; leave it out, or take 'static'"
            )
        super()._prepare_cache_for_generation(generation_config, model_kwargs, generation_mode, *sizes)
        self._check_assistance(generation_config, generation_mode)
        embedded = model_kwargs.get("inputs_embeds") is not None and not self.config.is_encoder_decoder
        if not self.model.streaming and embedded:
            raise Unsupported(
                "only a streaming model can generate from inputs_embeds: without a state, every step reads the tokens "
                "again, and embeddings have none. Give input_ids"
            )
        generation_config.use_cache = generation_config.use_cache and self.model.streaming
        if generation_config.use_cache:
            model_kwargs["past_key_values"] = next(one for one in (past, made, StateCache()) if one is not None)
        else:
            model_kwargs.pop("past_key_values", None)  # beam search would try to reorder None

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs of a step, without the mask of tokens that `generate()` has added: they are all real.

        Looking at it would wait for the device at every token.
        """
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(*args, **kwargs)
        past = kwargs.get("past_key_values")
        if not kwargs.get("is_first_iteration", False) and past is not None and holds_states(past):
            inputs.pop(self.own_mask, None)
        return inputs

    # transformers looks at the signature to see what a model takes
    prepare_inputs_for_generation.__signature__ = signature(  # type: ignore[attr-defined]
        GenerationMixin.prepare_inputs_for_generation
    )

    def _check_past(self, past: Any, generation_config: Any, attention_mask: Tensor | None) -> None:
        """Raise where the given cache is of another kind, is not to be used, or has already seen the whole prompt.

        Raise Unsupported where it holds PEFT's learned prompt, whose tokens are in no sequence of ids.
        """
        self.model.check_past(past)
        if holds_states(past) and self._is_prompted():
            raise Unsupported(
                "past_key_values holds the tokens of a learned prompt (PEFT), which input_ids and attention_mask do "
                "not count, so that the place to go on from is not known; give the whole sequence without "
                "past_key_values"
            )
        if not generation_config.use_cache:
            raise ValueError("past_key_values were given with use_cache=False; leave out one of them")
        # a mask of ones has been taken away, and its length kept: the tokens of the cache and the new ones
        length = getattr(generation_config, "_mask_length", None) if attention_mask is None else attention_mask.shape[1]
        if length is not None and length <= (seen := int(past.get_seq_length())):
            raise ValueError(
                f"past_key_values has seen {seen} tokens already, and the sequence has {length}; give the whole "
                "sequence with at least one new token, or the new tokens with the attention_mask of the whole sequence"
            )

    def _static_cache(self, generation_config: Any, generation_mode: Any, length: int) -> StaticStateCache:
        """Return an empty cache whose states keep their size and place, for the tokens of this call.

        Where steps are compiled, it is for as many tokens as earlier ones and in their place, so that their step, and
        the graph that was captured of it, fits this call, too.
        Raise Unsupported where the model has no such states.
        """
        if not generation_config.use_cache:
            raise ValueError("cache_implementation='static' was given with use_cache=False; leave out one of them")
        asked = getattr(generation_config, "max_cache_len", None)  # older versions of transformers have no such option
        compiled = self._compiles_steps(generation_config)
        most = max(length, asked or 0, self._longest_compiled_cache if compiled else 0)
        cache = StaticStateCache(most)
        self._check_room(cache, generation_mode, length)
        if compiled:
            self._longest_compiled_cache = most
            lend_tensors(self, cache)
        return cache

    def _compiles_steps(self, generation_config: Any) -> bool:
        """Return whether a step of this call may be compiled: by transformers, on a GPU or where asked to, or by the
        user."""
        by_user = self._compiled_call_impl is not None or hasattr(self.forward, "_torchdynamo_orig_callable")
        asked = self.device.type != "cpu" or generation_config.compile_config is not None
        return by_user or (asked and not generation_config.disable_compile)

    def _check_room(self, cache: StaticStateCache, generation_mode: Any, length: int) -> None:
        """Raise Unsupported where states cannot keep their size, and ValueError where there is no room for so many."""
        self.model.check_past(cache)
        for layer in range(self.config.depth):
            self.config.mixer_at(layer).require("static", instead="softmax(), linear() or dense()")
        self.config.memory.require("static", instead="memory none()")
        if self.config.is_encoder_decoder or generation_mode == GenerationMode.ASSISTED_GENERATION:
            what = "an encoder–decoder" if self.config.is_encoder_decoder else "assisted generation"
            raise Unsupported(f"{what} has no static cache; leave out cache_implementation='static'")
        if self._is_prompted():
            raise Unsupported("a learned prompt (PEFT) has no static cache; leave out cache_implementation='static'")
        if length > cache.max_length:
            raise ValueError(
                f"the static cache has room for {cache.max_length} tokens, but {length} may come; make it for more, or "
                "generate fewer"
            )

    @staticmethod
    def create_masks_for_generate(*, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
        """Return the mask of tokens as it is: masks of pairs, which transformers makes for a static cache, are the
        mixers' own affair."""
        return attention_mask

    def _is_prompted(self) -> bool:
        """Return whether PEFT runs this generation, with a learned prompt: it puts its own method in place of ours."""
        owner = getattr(self.prepare_inputs_for_generation, "__self__", self)
        return bool(getattr(getattr(owner, "active_peft_config", None), "is_prompt_learning", False))

    def _check_assistance(self, generation_config: Any, generation_mode: Any) -> None:
        """Raise Unsupported unless every mixer can take tokens back, if this model assists or is assisted."""
        if generation_config.assistant_early_exit is not None:
            raise Unsupported(
                "assistant_early_exit is not supported: layers cannot be left out; use an assistant_model"
            )
        if generation_mode == GenerationMode.ASSISTED_GENERATION or generation_config.is_assistant:
            for layer in range(self.config.depth):
                self.config.mixer_at(layer).require(
                    "trim", why="assisted generation takes tokens back", instead="softmax()"
                )
            if self.config.ffn.mixes_tokens:
                raise Unsupported(
                    f"assisted generation takes tokens back, but {self.config.ffn} keeps no state to take them from; "
                    "use mlp() or glu()"
                )
            self.config.memory.require("trim", why="assisted generation takes tokens back", instead="memory none()")

    def init_continuous_batching(self, *args: Any, **options: Any) -> Any:
        """Raise Unsupported: continuous batching, which `generate_batch` uses too, keeps keys and values in pages."""
        raise Unsupported(
            "continuous batching pages keys and values, but each mixer keeps a state of its own; use generate()"
        )
