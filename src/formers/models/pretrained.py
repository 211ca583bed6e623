"""The base of every model here: a Hugging Face model with our configuration, initial weights and costs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from formers.models import costs
from formers.models.config import TransformerConfig
from formers.models.idle_options import warn_of_idle_options
from formers.models.loading import (
    are_changed,
    check_settings,
    check_whole,
    naming,
    refuse_unknown_option,
    saved_config,
)
from formers.models.model_card import model_card
from formers.models.spans import attention_spans
from formers.models.tokenizer_check import check_tokenizer
from formers.part import Unsupported


class FormersModel(PreTrainedModel):
    """A `PreTrainedModel` of a `TransformerConfig`, which Hugging Face saves and loads, and which counts its costs."""

    config_class = TransformerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    made_from: str = ""
    "The pretrained model that the weights come from, as its name or folder; the model card tells it."
    streaming: bool
    "Whether there is a state to go on from: causal, and every mixer streams."

    def _init_weights(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            nn.init.ones_(module.weight)
            if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
                nn.init.zeros_(bias)
        elif callable(own := getattr(module, "init_weights", None)) and not isinstance(module, PreTrainedModel):
            own(std)

    def _initialize_weights(self, module: nn.Module, is_custom_code: bool = False) -> None:
        """Set the weights of a module, but those that were loaded.

        transformers leaves out a module that owns nothing which is still to be set, and with it a mixer that says how
        the weights of its projections start. Here such a module is left out only if all of theirs are loaded.
        """
        own = callable(getattr(module, "init_weights", None)) and not isinstance(module, PreTrainedModel)
        tensors = [*module.parameters(), *module.buffers()]
        if not own or _is_set(module):
            super()._initialize_weights(module, is_custom_code)
        elif not tensors or not all(map(_is_set, tensors)):
            super()._initialize_weights(module, is_custom_code=False)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        **options: Any,
    ) -> Any:
        """Load a model as Hugging Face does, or raise ValueError if it is not whole: see `check_whole`.

        Anything that a file should hold is in it: a damaged one gives no model of new weights. Arguments are those of
        `PreTrainedModel.from_pretrained`; options of the model change it, as `memory="recurrent(length=1024)"`. A
        UserWarning names those without effect: parts' options that only set what a weight starts as, which is loaded.
        """
        folder = pretrained_model_name_or_path or "the given state_dict"
        check_settings(folder)
        try:
            with naming(folder):
                model, info = super().from_pretrained(
                    pretrained_model_name_or_path,
                    *args,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # the check names them, with both shapes
                    **options,
                )
        except TypeError as error:
            refuse_unknown_option(error, cls.config_class)
            raise
        given = options.get("config") is not None or not options.keys().isdisjoint(cls.config_class.own_names())
        named = given and pretrained_model_name_or_path is not None
        saved = saved_config(model.config, folder, options) if named else None
        is_changed = saved is not None and are_changed(saved, model.config)
        check_whole(model, info, folder, may_misfit=ignore_mismatched_sizes, is_changed=is_changed)
        if saved is not None:
            warn_of_idle_options(model, info, saved, folder)
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        *args: Any,
        tokenizer: Any = None,
        **options: Any,
    ) -> None:
        """Save the model as Hugging Face does, with a model card where the folder has none (`README.md`).

        A tokenizer that is given is saved beside it, so that `AutoTokenizer` and `pipeline` find it there. Raise
        ValueError, before anything is written, if it has tokens that the model does not know.
        """
        if tokenizer is not None:
            check_tokenizer(tokenizer, self.config)
        super().save_pretrained(save_directory, is_main_process, *args, **options)
        folder = Path(save_directory)
        if not is_main_process or not folder.is_dir():
            return
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        card = folder / "README.md"
        if not card.exists():
            with_tokenizer = (folder / "tokenizer_config.json").exists()
            text = model_card(type(self), self.config, origin=self.made_from, has_tokenizer=with_tokenizer)
            card.write_text(text, encoding="utf-8")

    def set_attn_implementation(self, attn_implementation: Any, *args: Any, **options: Any) -> None:
        """Raise Unsupported for one of Hugging Face's attention functions: attention is the mixer's own."""
        given = attn_implementation.values() if isinstance(attn_implementation, dict) else [attn_implementation]
        for one in given:
            self._refuse_attention_function(one)
        super().set_attn_implementation(attn_implementation, *args, **options)

    def _check_and_adjust_attn_implementation(self, attn_implementation: str | None, *args: Any, **options: Any) -> str:
        """Do what transformers does, which asks it of every model it builds, but refuse what would have no effect."""
        self._refuse_attention_function(attn_implementation)
        kept: str = super()._check_and_adjust_attn_implementation(attn_implementation, *args, **options)
        return kept

    def _refuse_attention_function(self, name: str | None) -> None:
        if name not in (None, "eager"):
            raise Unsupported(
                f"attn_implementation={name!r} has no effect in a {type(self).__name__}, whose tokens meet in its "
                f"mixer, {self.config.choices()['mixer']}; that takes the fastest kernel for its device by itself. "
                'Leave attn_implementation out, or choose another mixer, as from_pretrained(path, mixer="window(128)")'
            )

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Make room for another number of tokens as Hugging Face does, in every table of tokens and configuration."""
        embedding: nn.Embedding = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        size = embedding.num_embeddings

        def resized(table: Any) -> nn.Module:
            options = {"new_num_tokens": size, "mean_resizing": mean_resizing}
            is_embedding = isinstance(table, nn.Embedding)
            made = (self._get_resized_embeddings if is_embedding else self._get_resized_lm_head)(table, **options)
            return made.requires_grad_(table.weight.requires_grad)

        for module in self.modules():
            if isinstance(module, FormersModel):
                module.config.vocab_size = size
            if callable(others := getattr(module, "resize_other_tables", None)):
                others(resized)
        return embedding

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return inputs of `length` tokens, without data: what costs are counted on."""
        return {"input_ids": torch.zeros(1, length, dtype=torch.long, device="meta")}

    def flops_per_token(self, length: int, steps: float | None = None) -> float:
        """Return the floating-point operations per token of a forward pass over `length` tokens.

        All `depth` steps count, or with `steps`, so many on average, as `count_steps` measures; see `models.costs`.
        """
        return costs.flops_per_token(self, length, steps)

    def state_bytes(self, length: int) -> int | None:
        """Return the bytes of one sequence's state after `length` tokens; None if the model does not stream."""
        return costs.state_bytes(self, length)

    def state_bytes_per_token(self, length: int) -> float | None:
        """Return the bytes that the streaming state grows by with each token, from `length`/2 to `length`.

        None for a model that does not stream.
        """
        return costs.state_bytes_per_token(self, length)

    def attention_spans(self, **inputs: Any) -> dict[str, Tensor]:
        """Return the span that each head has learned, in tokens, by the name of its mixer; `spans.attention_spans`.

        `inputs` of the model are needed for dynamic spans, which are then means over their tokens.
        """
        return attention_spans(self, inputs)


def _is_set(weights: nn.Module | Tensor) -> bool:
    """Return whether transformers has marked a module or a tensor as loaded or initialized."""
    return bool(getattr(weights, "_is_hf_initialized", False))
