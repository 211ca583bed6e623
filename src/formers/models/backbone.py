"""The one backbone that every arm shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import can_return_tuple

from formers.mixers.mixer import MixerModule, count_tokens
from formers.models.config import TransformerConfig
from formers.models.costs import flops_per_token, state_bytes, state_bytes_per_token
from formers.models.stream import Stream
from formers.part import State, Unsupported, layers_share, share_across_layers
from formers.positions.position import build_at
from formers.residuals import Block


class FormersModel(PreTrainedModel):
    """What all our models share with Hugging Face's: configuration, initial weights, saving, costs."""

    config_class = TransformerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]  # noqa: RUF012
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

    def flops_per_token(self, length: int) -> float:
        """Floating-point operations of a forward pass over `length` tokens, per token (products and transforms)."""
        return flops_per_token(self, length)

    def state_bytes(self, length: int) -> int | None:
        """Bytes of one sequence's streaming state after `length` tokens; None for a model that does not stream."""
        return state_bytes(self, length)

    def state_bytes_per_token(self, length: int) -> float | None:
        """Bytes that the streaming state grows by with each token, from `length`/2 to `length`; None if it cannot stream."""
        return state_bytes_per_token(self, length)


class Transformer(FormersModel):
    """Embeddings, `depth` layers of a mixer and a feed-forward, and a last norm where the wiring wants one.

    `config.causal` decides in which direction tokens see each other. Raises `Unsupported` for parts that do not fit.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        site = config.site()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.position.embedding_width(site))
        self.input_position = build_at("input", site)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_build_layer(config, layer) for layer in range(config.depth))
        share_across_layers(self.layers)
        self.norm = config.norm.build(site) if config.residual.normalizes_end else nn.Identity()
        self.streaming = site.causal and all("streaming" in config.mixer_at(i).abilities for i in range(config.depth))
        self.gradient_checkpointing = False
        self.post_init()

    def separate_layers(self) -> list[Block]:
        """The layers, where each runs as a module of its own and needs no weights but its own while it does; else none."""
        layers = [layer for layer in self.layers if isinstance(layer, Block)]
        separate = self.config.residual.calls_layers and not layers_share(layers)
        return layers if separate else []

    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embed_tokens = value

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Stream | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """Hidden states of a batch.

        Args:
            input_ids: tokens, (B, L); or `inputs_embeds`, (B, L, D).
            attention_mask: 1 = a real token, 0 = padding, (B, L), or with the past in front, (B, past + L).
            position_ids: (B, L) or (1, L); None counts the real tokens of each row.
            past_key_values: the `Stream` of an earlier call, which this call moves on.
            use_cache: whether to return a `Stream`. Only causal models of streaming mixers have one.
            output_hidden_states: whether to return what enters every layer, too; None = as the configuration says.
            output_attentions: weights are never formed, so True raises `Unsupported`.
            return_dict: False returns a tuple without what is None; None = as the configuration says.
        """
        if output_attentions:
            raise Unsupported(
                f"{self.config.choices()['mixer']} returns no attention weights: its kernels never form them"
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both")
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        stream = self.stream_for(past_key_values, use_cache)
        mask = _real_tokens(attention_mask, x)
        seen = past_key_values.states[0] if past_key_values is not None and past_key_values.states else None
        positions = position_ids if position_ids is not None else count_tokens(x, mask, seen) - 1
        if self.input_position is not None:
            x = self.input_position(x, positions)
        x = self.config.residual.enter(self.dropout(x))
        states: list[Any] = []
        hidden: list[Tensor] = []
        if stream is None and not output_hidden_states and not (self.gradient_checkpointing and self.training):
            x = self.config.residual.through(self.layers, x, mask, positions)
        else:
            x, states, hidden = self.run(x, past_key_values, mask, positions)
        x = self.norm(self.config.residual.leave(x))
        return BaseModelOutputWithPast(
            last_hidden_state=x,
            past_key_values=stream.advance(states, x.shape[1]) if stream is not None else None,
            hidden_states=(*hidden, x) if output_hidden_states else None,
        )

    def run(
        self, x: Tensor, past: Stream | None, mask: Tensor | None, positions: Tensor
    ) -> tuple[Tensor, list[Any], list[Tensor]]:
        """All layers; returns the states after, and the hidden states that entered each layer."""
        states: list[State | None] = []
        hidden = []
        for i, layer in enumerate(self.layers):
            hidden.append(self.config.residual.leave(x))
            state = past.states[i] if past is not None and past.states else None
            if self.gradient_checkpointing and self.training:
                x, state = self._gradient_checkpointing_func(
                    layer.__call__, x, state, mask_bl=mask, positions_bl=positions
                )
            else:
                x, state = layer(x, state, mask_bl=mask, positions_bl=positions)
            states.append(state)
        return x, states, hidden

    def stream_for(self, past: Stream | None, use_cache: bool | None) -> Stream | None:
        """The stream to move on, a new one, or None when nothing is to be remembered."""
        wanted = past is not None or (self.config.use_cache and not self.training if use_cache is None else use_cache)
        if not wanted or not self.streaming:
            if past is not None:
                mixers = [self.config.mixer_at(layer) for layer in range(self.config.depth)]
                silent = [mixer for mixer in mixers if "streaming" not in mixer.abilities]
                why = silent[0].no_state() if silent else "a bidirectional model has no streaming state"
                raise Unsupported(f"{why}; call without past_key_values")
            return None
        return past if past is not None else Stream([])


def _build_layer(config: TransformerConfig, layer: int) -> Block:
    site = config.site().at(layer)
    mixer: MixerModule = config.mixer_at(layer).build(site)
    return config.residual.build(site, mixer, config.ffn.build(site), config.norm)


def _real_tokens(attention_mask: Tensor | None, x_bld: Tensor) -> Tensor | None:
    """The mask of the new tokens as booleans, (B, L); None when it hides nothing."""
    if attention_mask is None:
        return None
    batch, length, _ = x_bld.shape
    if attention_mask.dim() != 2 or attention_mask.shape[0] != batch or attention_mask.shape[1] < length:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; expected (batch, length) = ({batch}, {length}), "
            "1 for a real token and 0 for padding (the past may stand in front)"
        )
    mask = attention_mask[:, -length:].bool()
    readable = not torch.compiler.is_compiling() and not mask.is_meta
    return None if readable and bool(mask.all()) else mask
