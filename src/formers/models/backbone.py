"""The one backbone that every model shares: embeddings, layers and a last norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.utils.generic import can_return_tuple

from formers.computation import StackInput
from formers.mixers.context import count_tokens
from formers.mixers.documents import Documents, GlobalMask, Mask
from formers.mixers.mixer import MixerModule
from formers.mixers.qkv import HeadMixer
from formers.models.cache import StateCache, check_cache, holds_states, states_in, store_states
from formers.models.config import TransformerConfig
from formers.models.countable_sizes import countable_sizes
from formers.models.embedding import check_embedded, check_positions, embed
from formers.models.outputs import BackboneOutput
from formers.models.packing import DocumentHints, check_no_cache, check_not_refused, find_documents
from formers.models.pooler import build_pooler
from formers.models.pretrained import FormersModel
from formers.models.static_cache import StaticStateCache
from formers.models.token_masks import global_tokens, real_tokens
from formers.models.token_types import TokenTypes, check_no_types
from formers.norms import NoNorm
from formers.ops import tell
from formers.part import Site, State, Unsupported, layers_share, share_across_layers
from formers.positions.position import build_at
from formers.residuals import Block


class Transformer(FormersModel):
    """Embeddings with their norm, layers of a mixer and a feed-forward, and a last norm.

        model = Transformer(TransformerConfig(vocab_size=65, width=64, depth=2, heads=4, mixer="window(8)"))
        model(torch.randint(65, (2, 32))).last_hidden_state  # (B, L) → (B, L, D)

    There are `depth` layers, unless the computation lets one take several steps. Either norm may be absent: see
    `TransformerConfig`.

    `config.causal` decides in which direction tokens see each other. Raises `Unsupported` for parts that do not fit.
    """

    @countable_sizes()
    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        site = config.site()
        self.embedding_width: int = config.position.embedding_width(site)
        self.embed_tokens = nn.Embedding(config.vocab_size, self.embedding_width)
        types = config.token_types
        self.token_types = TokenTypes(types, self.embedding_width) if types else None
        self.input_position = build_at("input", site)
        self.embedding_norm = (config.embedding_norm or NoNorm()).build(site)
        self.dropout = nn.Dropout(config.dropout)
        _check_mixers_are_used(config)
        self.layers = nn.ModuleList(self.build_layer(site.at(layer)) for layer in range(site.layers))
        _check_heads_are_used(config, self.layers)
        share_across_layers(self.layers)
        self.computation = config.computation.build(site, config.depth, config.residual)
        self.norm = config.norm_at_end().build(site)
        self.pooler = build_pooler(config)
        streaming = all("streaming" in config.mixer_at(i).abilities for i in range(config.depth))
        self.streaming = site.causal and streaming and not config.ffn.mixes_tokens
        self.gradient_checkpointing = False
        self._no_split_modules = {type(layer).__name__ for layer in self.layers}  # they run on one device each
        self.post_init()

    def build_layer(self, site: Site) -> nn.Module:
        """Return the layer of a site: its mixer, with a memory, and a feed-forward, wired as the residual part says."""
        config = self.config
        mixer: MixerModule = config.memory.build(site, config.mixer_at(site.layer).build(site))
        return config.residual.build(site, mixer, config.ffn.build(site), config.norm)

    def separate_layers(self) -> list[Block]:
        """Return the layers, if each runs as a module of its own with no weights but its own; else an empty list."""
        layers = [layer for layer in self.layers if isinstance(layer, Block)]
        called = self.config.residual.calls_layers and self.config.computation.runs_layers_once
        return layers if called and not layers_share(layers) else []

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of tokens."""
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding of tokens."""
        self.embed_tokens = value

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        token_type_ids: Tensor | None = None,
        seq_idx: Tensor | None = None,
        cu_seq_lens_q: Tensor | None = None,
        cu_seq_lens_k: Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
        one_document_a_row: bool = False,
        global_attention_mask: Tensor | None = None,
        start: Sequence[State] | None = None,
        exit_scores: Callable[[int, Tensor], Tensor] | None = None,
    ) -> BackboneOutput:
        """Return the hidden states of a batch.

        Args:
            input_ids: tokens, (B, L); or `inputs_embeds`, (B, L, D), less wide where a position is concatenated.
            attention_mask: 1 = a real token, 0 = padding, (B, L), or with the past in front, (B, past + L).
            position_ids: (B, L) or (1, L); None counts the real tokens of each row, or of each document in it. Where
                they begin again in a row and nothing else tells documents apart, there a new document begins.
            past_key_values: the `StateCache` of an earlier call, or an empty one; this call moves it on.
            use_cache: whether to return a `StateCache`; None = as the configuration says, if the model streams
                (`model.streaming`) and is not in training.
            output_hidden_states: whether to return the hidden states that enter every layer, too; None = as the
                configuration says.
            output_attentions: weights are never formed, so True raises `Unsupported`.
            return_dict: False returns a tuple without what is None; None = as the configuration says.
            token_type_ids: the type of each token, (B, L) or (1, L), or with the past in front; None = 0 everywhere.
                Zeros of any shape, as BERT's tokenizer gives for single texts, where the model has no token types.
            seq_idx, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k: documents that are packed into rows and
                do not see each other, as in `DocumentHints`; `DataCollatorWithFlattening` makes them.
            exit_scores: a head at early exits, as in `StackInput.scores`, but for hidden states behind the norm.
            one_document_a_row: whether rows of several documents are refused, as by a head with one answer a row.
            global_attention_mask: 1 = a token that sees its whole row, or document in it, and is seen by all of it,
                (B, L), as in Hugging Face's Longformer; in the place of those that the mixers list. For bidirectional
                models whose mixers all have the ability `global_tokens`; others raise `Unsupported`.
            start: the states before the first token, where these are not none: what a decoder has read of its source.
                Not looked at beside a cache with tokens.

        Raise ValueError for inputs of other shapes; and Unsupported for a cache, given or asked for, if the model does
        not stream, for one of keys and values, and for one beside packed documents; for these where they are refused;
        and for token types that the model has not.
        """
        if output_attentions:
            raise Unsupported(
                f"{self.config.choices()['mixer']} returns no attention weights: its kernels never form them"
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both")
        cache = self._cache_for(past_key_values, use_cache)
        self._check_gradients(cache is not None or start is not None)
        x = self.embedded(input_ids, inputs_embeds, token_type_ids)
        check_positions(position_ids, x)
        real_bl = real_tokens(attention_mask, x, 0 if cache is None else cache.get_seq_length())
        hints = DocumentHints(seq_idx, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k)
        documents = find_documents(hints, position_ids, real_bl, x)
        if documents is not None:
            check_not_refused(one_document_a_row)
            check_no_cache(past_key_values, use_cache)
            cache = None
        marked = real_bl if documents is None else documents
        given = global_attention_mask
        mask: Mask = marked if given is None else GlobalMask(marked, global_tokens(given, x))
        count = self.computation.states
        past: Sequence[State | None] = start or [None] * count
        if cache is not None and holds_states(cache):
            past = states_in(cache, count, len(x))
        positions = position_ids if position_ids is not None else count_tokens(x, mask, past[0]) - 1
        if position_ids is None and past[0] is None:
            tell(positions, "bound", x.shape[1] - 1)
        out = self._run(x, mask, positions, past, cache, output_hidden_states, exit_scores)
        if exit_scores is not None and self.training:
            out.mask = marked
        if self.pooler is not None and documents is None:
            out.pooler_output = self.pooler(out.last_hidden_state, real_bl)
        return out

    def embedded(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return tokens as vectors, with their types; arguments as in `forward`."""
        if inputs_embeds is not None:
            check_embedded(inputs_embeds, self.embedding_width)
        x = embed(self.embed_tokens, input_ids) if inputs_embeds is None else inputs_embeds
        if self.token_types is not None:
            return self.token_types(x, token_type_ids)  # type: ignore[no-any-return]
        check_no_types(token_type_ids)
        return x

    def entering(self, x: Tensor, positions: Tensor) -> Tensor:
        """Return the hidden states that enter the stack, (B, L, D), given embedded tokens and their positions."""
        if self.input_position is not None:
            x = self.input_position(x, positions)
        entering: Tensor = self.dropout(self.embedding_norm(x))
        return entering

    def _run(
        self,
        x: Tensor,
        mask: Mask,
        positions: Tensor,
        past: Sequence[State | None],
        cache: Cache | None,
        output_hidden_states: bool,
        exit_scores: Callable[[int, Tensor], Tensor] | None,
    ) -> BackboneOutput:
        """Return what `forward` does for embedded tokens after the `past` states, and move the cache on."""
        given = StackInput(
            self.layers,
            self.entering(x, positions),
            positions,
            mask,
            past,
            keep_states=cache is not None or past[0] is not None,
            keep_hidden=output_hidden_states,
            recompute=self._gradient_checkpointing_func if self._recomputes() else None,
            scores=None if exit_scores is None else lambda n, x: exit_scores(n, self.norm(x)),
        )
        x, states, hidden, steps = self.computation(given)
        if cache is not None:
            assert not isinstance(mask, Documents | GlobalMask)
            if isinstance(cache, StaticStateCache):
                if not cache.is_filled or x.shape[1] > 1:  # one token leaves states of a fixed size as they are
                    states = self.computation.static_states(self.layers, states, cache.max_length)
                cache.store(states, x.shape[1])
            else:
                store_states(cache, states, mask, x.shape[1])
        x = self.norm(x)
        return BackboneOutput(
            last_hidden_state=x,
            past_key_values=cache,
            hidden_states=(*hidden, x) if output_hidden_states else None,
            steps=steps,
        )

    def _recomputes(self) -> bool:
        """Return whether layers run again in the backward pass (gradient checkpointing)."""
        return bool(self.gradient_checkpointing and self.training)

    def _cache_for(self, past: Cache | None, use_cache: bool | None) -> Cache | None:
        """Return the cache to move on: the given one, a new one, or None if nothing is to be remembered."""
        if past is not None:
            self.check_past(past)
            return past
        if use_cache:
            self._check_streaming("without use_cache=True")
        wanted = self.config.use_cache and not self.training if use_cache is None else use_cache
        return StateCache() if wanted and self.streaming else None

    def _check_gradients(self, has_states: bool) -> None:
        """Raise Unsupported where states would lose their gradients in silence."""
        options = getattr(self._gradient_checkpointing_func, "keywords", {}) if self._recomputes() else {}
        if has_states and options.get("use_reentrant"):
            raise Unsupported(
                "reentrant gradient checkpointing passes no gradients through states, such as a cache, or what a "
                "decoder has read of its source; use use_reentrant=False"
            )

    def check_past(self, past: Cache) -> None:
        """Raise Unsupported unless the model streams and its states fit into this cache; TypeError for no cache."""
        check_cache(past)
        self._check_streaming("without past_key_values")

    def _check_streaming(self, instead: str) -> None:
        """Raise Unsupported unless the model streams, with the reason and what to call it with instead."""
        if not self.streaming:
            mixers = [self.config.mixer_at(layer) for layer in range(self.config.depth)]
            stateless = [mixer for mixer in mixers if "streaming" not in mixer.abilities]
            why = stateless[0].no_state() if stateless else "a bidirectional model has no streaming state"
            if self.config.ffn.mixes_tokens:
                why = f"{self.config.ffn} takes in neighbouring tokens, and keeps none of them as a state"
            raise Unsupported(f"{why}; call {instead}")


def _check_mixers_are_used(config: TransformerConfig) -> None:
    """Raise Unsupported for more mixers than layers, where the computation makes fewer layers than steps."""
    mixers, made = len(config.mixer) if isinstance(config.mixer, tuple) else 1, config.site().layers
    if made < min(mixers, config.depth):
        raise Unsupported(
            f"{config.computation} makes {made} of {config.depth} layers, but {mixers} mixers are to go round them; "
            f"give at most {made}, or let it make more"
        )


def _check_heads_are_used(config: TransformerConfig, layers: nn.ModuleList) -> None:
    """Raise Unsupported for heads of their own width, and norms on them, where no mixer has any."""
    own = {name: getattr(config, name) for name in ("head_width", "qk_norm") if getattr(config, name) is not None}
    if own and not any(isinstance(module, HeadMixer) for module in layers.modules()):
        given = " and ".join(f"{name}={value}" for name, value in own.items())
        raise Unsupported(f"{config.choices()['mixer']} has no heads that {given} could be for; leave it out")
