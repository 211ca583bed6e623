"""The configuration of a model: its sizes and its parts."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from transformers import PreTrainedConfig

from formers.computation import Computation, FixedDepth
from formers.ffn import Activation, Ffn, Mlp
from formers.memory import Memory, NoMemory
from formers.mixers import Mixer, Softmax, Sparse
from formers.models.options import check_labels, check_option, kept, label_names, label_numbers
from formers.norms import NORM_OPTIONS, LayerNorm, NoNorm, Norm
from formers.part import Part, Site, Unsupported, check_names, check_nesting, quoted, value_json, value_text
from formers.patterns import Pattern
from formers.positions import Position, Rotary
from formers.residuals import PreNorm, Residual

AXIS_OF = {
    "mixer": Mixer,
    "position": Position,
    "residual": Residual,
    "norm": Norm,
    "ffn": Ffn,
    "memory": Memory,
    "computation": Computation,
}
"""Options that hold a part → the axis that it must be on."""
_LEFT_OUT = dict.fromkeys(NORM_OPTIONS) | {
    "memory": NoMemory(),
    "computation": FixedDepth(),
    "token_types": 0,
    "pooler": None,
    "head_transform": None,
    "head_bias": False,
    "head_width": None,
}
"""Options that configurations got after models were saved → the value that files without them mean. It is left out,
so that files and descriptions of models without the newer parts stay what they were."""

_HUB_NAMES = {
    *("transformers_version", "architectures", "model_type", "auto_map", "name_or_path", "_name_or_path"),
    *("torch_dtype", "dtype", "num_labels", "id2label", "label2id", "problem_type", "is_encoder_decoder"),
    *("attn_implementation", "experts_implementation", "chunk_size_feed_forward"),
    *("return_dict", "output_attentions", "output_hidden_states"),
}
"""Names that Hugging Face writes into every config.json, beside ours."""
_SET_BEHIND_LABELS = "_attn_implementation_internal"
"""An attribute that Hugging Face sets after the labels: with it, a configuration is whole."""


class TransformerConfig(PreTrainedConfig):
    """Sizes and parts of a model. A part may be given as a `Part`, as text (`"linear(feature=relu)"`) or as JSON.

    Attributes:
        vocab_size: how many different tokens there are.
        width, depth, heads: model width D, number of layers, attention heads H. Where layers are used again, `depth`
            is the number of steps through them.
        mixer: how tokens exchange information; a list is cycled over the layers.
        position, residual, norm, ffn: the other choices.
        memory: what layers remember beyond the tokens that they are given.
        computation: how many steps a token gets; `fixed`: each of `depth` layers once.
        token_types: types of tokens with a vector each, added to the embedding, as BERT's two texts of a pair; 0: none.
        embedding_norm: a norm behind the embedding and a position that acts on it, as BERT's; None: nothing.
        head_width: width K of queries, keys and values per head, for mixers with the usual projections; None: D / H.
        qk_norm: a norm on the queries and keys of each head, before the position, as Qwen3's, for the same mixers;
            None: nothing.
        final_norm: the norm behind the last layer, `none` for nothing; None: `norm`, where the residual leaves the
            stream unnormalised.
        pooler: activation of a dense layer over the first token, as BERT's, in a bidirectional `Transformer`, which
            returns it as `pooler_output`, and in a `SequenceClassifier`, which reads it; None: neither has it.
        head_transform: activation of a dense layer with a norm before the scores of a `MaskedLM`; None: no such layer.
        head_bias: whether the scores of tokens have a bias.
        causal: whether tokens see only their past; None lets the head decide (a `CausalLM` is, the others are not).
        context_length: the longest sequence the model promises to take.
        dropout: probability of dropping an activation of the embeddings and of each residual branch.
        tie_word_embeddings: whether the output projection is the embedding.
        initializer_range: standard deviation of initial weights.
        pad_token_id, bos_token_id, eos_token_id: special tokens, where there are any.
        use_cache: whether a streaming model in eval mode returns its states unless told otherwise.

    Every option is checked when it is set, in whatever way. Raise TypeError for an unknown name, with the nearest right
    one, and for what is no part; ValueError for a part that does not exist, and for a value out of an option's type or
    range; Unsupported for an option of Hugging Face's that would have no effect, such as `output_attentions`.
    """

    part_options: ClassVar[Mapping[str, type[Part]]] = AXIS_OF | dict.fromkeys(NORM_OPTIONS, Norm)
    "Options that hold a part → its axis; those in `NORM_OPTIONS` may hold None, those on the mixer axis lists."
    effective: ClassVar[frozenset[str]] = frozenset({"token_types", "pooler", "head_transform"})
    "Options that have an effect here, beside those that have one in every model."

    model_type = "formers"
    attribute_map = {  # noqa: RUF012
        "hidden_size": "width",
        "num_hidden_layers": "depth",
        "num_attention_heads": "heads",
        "max_position_embeddings": "context_length",
    }

    vocab_size: int = 256
    width: int = 256
    depth: int = 6
    heads: int = 8
    mixer: Any = Softmax()
    position: Any = Rotary()
    residual: Any = PreNorm()
    norm: Any = LayerNorm()
    ffn: Any = Mlp()
    memory: Any = NoMemory()
    computation: Any = FixedDepth()
    head_width: int | None = None
    qk_norm: Any = None
    embedding_norm: Any = None
    final_norm: Any = None
    token_types: int = 0
    pooler: Activation | None = None
    head_transform: Activation | None = None
    head_bias: bool = False
    causal: bool | None = None
    context_length: int = 512
    dropout: float = 0.0
    tie_word_embeddings: bool = True
    initializer_range: float = 0.02
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:  # Hugging Face hands over here what is no field
        kwargs = self._without_second_names(kwargs)
        check_names(type(self).__name__, [n for n in kwargs if n not in _HUB_NAMES], self.own_names())
        for name, value in kwargs.items():
            check_option(name, value, self.effective)
        given = vars(self)
        check_labels({"id2label": given["id2label"], "label2id": given["label2id"]} | kwargs)
        if given["id2label"] is None and given["label2id"] is not None:
            self.id2label = label_names(given["label2id"])
        super().__post_init__(**kwargs)
        if given["label2id"] is None:
            self.label2id = label_numbers(given["id2label"])

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option, a part from text or JSON too. Raise for a value out of its type or range."""
        name = self.attribute_map.get(name, name)
        check_option(name, value, self.effective)
        axis = self.part_options.get(name)
        super().__setattr__(name, kept(name, value) if axis is None else _as_parts(name, axis, value))
        if name in ("id2label", "label2id") and _SET_BEHIND_LABELS in vars(self):
            self._keep_labels_in_step(name)

    @classmethod
    def own_names(cls) -> list[str]:
        """Return the names of the options that are ours, not Hugging Face's."""
        kinds = [kind for kind in reversed(cls.__mro__) if issubclass(kind, TransformerConfig)]
        names = dict.fromkeys(name for kind in kinds for name in kind.__annotations__)
        return [name for name in names if name not in ("part_options", "effective") and not name.startswith("_")]

    def swap(self, **changes: Any) -> Self:
        """Return a copy with some choices changed and everything else as it was set, Hugging Face's options too.

        Raise TypeError for an unknown name, with the nearest right one.
        """
        check_names(type(self).__name__, [n for n in changes if n not in _HUB_NAMES], self.own_names())
        check_labels(changes)
        changed = copy.deepcopy(self)
        for name, value in changes.items():
            setattr(changed, name, value)
        return changed

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Any:
        """Return the configuration in a folder, as Hugging Face does. Raise ValueError naming it if there is none."""
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **options)
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            kind = next((kind for kind in (Unsupported, TypeError) if isinstance(error, kind)), ValueError)
            raise kind(f"{error} (in config.json of {pretrained_model_name_or_path})") from error

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Return the configuration in a dictionary with some options changed, as `from_pretrained` does.

        Labels that are given, by number or by name, take the place of those in the dictionary. Raise ValueError for a
        dictionary of another library's model.
        """
        if config_dict.get("model_type", cls.model_type) != cls.model_type:
            raise ValueError(
                f"model_type is {config_dict['model_type']!r}, but {cls.model_type!r} was expected; load it with "
                "transformers' own AutoConfig and AutoModel classes"
            )
        check_labels(kwargs)
        if any(kwargs.get(name) is not None for name in ("num_labels", "id2label", "label2id")):
            config_dict = {name: value for name, value in config_dict.items() if name not in ("id2label", "label2id")}
        return super().from_dict(config_dict, **kwargs)

    def choices(self) -> dict[str, str]:
        """Return the parts in text form, by axis; several mixers as a list. See `to_dict` for what is left out."""
        return {name: value_text(getattr(self, name)) for name in self.part_options if not self._leaves_out(name)}

    def norm_at_end(self) -> Norm:
        """Return the norm behind the last layer."""
        own: Norm | None = self.final_norm
        return own or (self.norm if self.residual.normalizes_end else NoNorm())

    def mixer_at(self, layer: int) -> Mixer:
        """Return the mixer of one layer."""
        return self.mixer[layer % len(self.mixer)] if isinstance(self.mixer, tuple) else self.mixer

    def site(self) -> Site:
        """Return the surroundings that parts are built in: sizes, direction and position, for the first layer."""
        return Site(
            width=self.width,
            heads=self.heads,
            causal=bool(self.causal),
            context_length=self.context_length,
            layers=self.computation.layers(self.depth),
            dropout=self.dropout,
            position=self.position,
            key_width=self.head_width,
            qk_norm=self.qk_norm,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything: parts as JSON, and sizes also under Hugging Face's names, by which PEFT finds them.

        Options that files once did not have are left out where nothing was chosen, as in files from before these were.
        """
        data = super().to_dict() | {name: value_json(getattr(self, name)) for name in self.part_options}
        data |= {theirs: getattr(self, ours) for theirs, ours in self.attribute_map.items()}
        return {name: value for name, value in data.items() if not self._leaves_out(name)}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds: each size once, under its own name, and no defaults of Hugging Face's."""
        return {name: value for name, value in super().to_diff_dict().items() if name not in self.attribute_map}

    def _leaves_out(self, name: str) -> bool:
        """Return whether an option has the value that files without it mean."""
        return name in _LEFT_OUT and getattr(self, name) == _LEFT_OUT[name]

    def _keep_labels_in_step(self, changed: str) -> None:
        """Make names and numbers of the labels agree after one of them was set; names that are None mean two labels."""
        names, numbers = vars(self)["id2label"] or {0: "LABEL_0", 1: "LABEL_1"}, vars(self)["label2id"]
        if changed == "label2id" and numbers not in (None, label_numbers(names)):
            names = label_names(numbers)
        super().__setattr__("id2label", names)
        super().__setattr__("label2id", label_numbers(names))

    def _without_second_names(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments without sizes under Hugging Face's names. Raise TypeError if one contradicts ours."""
        for theirs, ours in self.attribute_map.items():
            if theirs in kwargs and kwargs[theirs] != getattr(self, ours):
                raise TypeError(
                    f"{theirs}={quoted(kwargs[theirs])} was given, but {ours}={getattr(self, ours)}: they are one; "
                    f"give {ours} alone"
                )
        return {name: value for name, value in kwargs.items() if name not in self.attribute_map}


def _as_parts(option: str, axis: type[Part], value: Any) -> Any:
    """Return a part of the axis, or for mixers, which layers cycle through, a tuple of them from a list."""
    if axis is Mixer and isinstance(value, (list, tuple)) and value:
        return tuple(_as_part(option, axis, item) for item in value)
    return _as_part(option, axis, value)


def _as_part(option: str, axis: type[Part], value: Any) -> Any:
    """Return a part of the axis from itself, text or JSON; a pattern becomes `sparse` over it.

    None stays where an option may be None. Raise TypeError for all else.
    """
    if value is None and option in NORM_OPTIONS:
        return None
    if isinstance(value, str):
        value = axis.parse(value)
    elif isinstance(value, dict):
        return axis.from_json(value)
    else:
        check_nesting(value)  # of text and JSON, their readers do
    if isinstance(value, Pattern) and axis is Mixer:
        return Sparse(pattern=value)
    if isinstance(value, type) and issubclass(value, axis):
        raise TypeError(f"{option} must be a part, but the class {value.__name__} was given; write {value.__name__}()")
    if not isinstance(value, axis):
        raise TypeError(
            f"{option} must be one of {', '.join(k.name() for k in axis.kinds())}, but {quoted(value)} was given"
        )
    return value
