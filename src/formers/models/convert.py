"""Models of another mixer from trained ones: weights with a counterpart are copied, and a report lists the rest."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace as with_changes
from typing import Any, get_args

import torch
from torch import Tensor

from formers.computation import EarlyExit, FixedDepth
from formers.models.config import TransformerConfig
from formers.models.conversion import Conversion
from formers.models.fitting import Extension, Layout, fitted, layout_of
from formers.models.idle_options import idle_options, mean_the_same
from formers.models.pretrained import FormersModel
from formers.models.weight_names import mixers_by_place, named_by, place_of
from formers.part import Unsupported, quoted, warn_caller
from formers.positions import Learned

_SAME = (
    *("vocab_size", "width", "depth", "heads", "residual", "norm", "ffn", "tie_word_embeddings"),
    *("head_width", "qk_norm", "embedding_norm", "token_types", "pooler"),
    *("head_transform", "head_bias", "num_labels"),
)
"""Choices that both configurations must agree on, up to what weights start as, so that copied ones mean the same."""
_ONE_LAYER_A_STEP = (FixedDepth, EarlyExit)
"""Computations whose layers mean the same: one may take the place of the other."""
_ANEW = "as at the start of training, as asked for"
"""The origin of weights that the caller wants new."""
_GLOBAL = "_global."
"""The part of a name by which the projections of global tokens differ from those of all others."""


def convert_weights(
    model: FormersModel,
    config: TransformerConfig,
    *,
    strict: bool = False,
    extension: Extension = "repeat",
    replace: bool = False,
    fresh: Sequence[str] = (),
) -> Conversion:
    """Return a model of `config` that starts from the weights of `model`: dense attention into longformer, bigbird, …

    Weights of the same name and shape are copied. A global token's projections start as copies of the local ones. Keys
    and values that query heads share are repeated for a mixer whose heads each have their own. Learned positions are
    extended by repeating the table from its start, as Longformer and BigBird do, or by `extension`. A model may get
    early exits, another rule for them, or lose them. Anything else is as in a new model. Where the new mixer still sees
    every pair, so with a window that covers the sequence, nothing changes.

    A UserWarning names all that is new or dropped: biases of the given model, for which the new mixer has no place,
    or projections of the new mixer that the given model does not have. It also names options without effect, of
    whichever part: those that only set what a weight starts as, such as the `gate` of memorizing(), where the given
    model's weight is kept. Print the result for all of it, and for positions whose options are others.

    Args:
        strict: whether anything new, dropped or without effect is an error.
        extension: `repeat` or `interpolate`: how learned positions become more.
        replace: whether a mixer may have no weight in common with the one whose place it takes, such as fourier().
        fresh: names of weights, or their ends, such as `gate_h`, that start as in a new model all the same.

    Raise ValueError if sizes, wiring, norm, feed-forward, kind of position or direction differ in more than what
    weights start as, if a weight of the same name has another shape, if no weight's name ends as one of `fresh`, or if
    `strict` and something is new, dropped or without effect; TypeError for a configuration of another kind of model;
    Unsupported if a layer's mixer has no weight in common with the old one, without `replace`.
    Source: Beltagy et al. 2020 (Longformer), arXiv:2004.05150, section 5.
    """
    _check_given(model, config, extension, fresh)
    _check_configs(model.config, config)
    target = _new_model(model, _with_direction(model, config))
    if model.can_generate() and target.can_generate():
        target.generation_config = copy.deepcopy(model.generation_config)
    target.made_from = model.made_from
    conversion = _copied(model.state_dict(), target, layout_of(model.config, extension), fresh)
    kept = [*conversion.copied, *(name for name, how in conversion.derived.items() if how != _ANEW)]
    before, now = model.config.position, config.position
    positions = "" if mean_the_same(before, now) else f"positions were {before}, and are {now}"
    conversion = with_changes(conversion, idle=idle_options(model.config, config, kept), positions=positions)
    if not replace:
        _check_mixers(model.config, target, conversion.fresh)
    if caveats := conversion.caveats:
        message = f"{type(model).__name__} is not converted whole:\n{caveats}"
        if strict:
            raise ValueError(f"{message}\nTo go on with the rest, leave out strict=True")
        warn_caller(message)
    return conversion


@torch.no_grad()
def _copied(old: dict[str, Tensor], target: FormersModel, layout: Layout, anew: Sequence[str]) -> Conversion:
    """Copy into a new model all old tensors that have a place there; return it with the origin of each tensor."""
    new = target.state_dict()
    copied, derived, used = list[str](), dict.fromkeys(_ending(new, anew), _ANEW), set[str]()
    starting = {_place_in_memory(new[name]) for name in derived}
    derived |= {name: _ANEW for name in new if _place_in_memory(new[name]) in starting}  # weights tied to those, too
    for name, tensor in new.items():
        source = _source_of(name, old)
        if source is None:
            continue
        used.add(source)
        if name in derived:
            continue
        taken, how = fitted(name, old[source], tensor, layout)
        tensor.copy_(taken)
        if source == name and not how:
            copied.append(name)
        else:
            derived[name] = ", ".join([*([] if source == name else [f"from {source}"]), *([how] if how else [])])
    fresh = tuple(name for name in new if name not in derived and name not in copied)
    return Conversion(target, tuple(copied), derived, fresh, tuple(name for name in old if name not in used))


def _ending(names: Iterable[str], ends: Sequence[str]) -> list[str]:
    """Return the names that end as asked for. Raise ValueError for an end that no name has."""
    known, found = [*names], set[str]()
    for end in ends:
        meant = named_by(end, known)
        if not meant:
            raise ValueError(f"fresh={end!r} is the end of no weight's name here; there are, for one, {known[-1]}")
        found.update(meant)
    return [name for name in known if name in found]


def _new_model(model: FormersModel, config: TransformerConfig) -> FormersModel:
    """Return a new model of the class, dtype, device and mode of the given one."""
    without_data = model.device.type == "meta"
    with torch.device("meta") if without_data else nullcontext():  # moved there, tied weights would be two
        target = type(model)(config)
    return target.to(model.device, model.dtype).train(model.training)


def _place_in_memory(weight: Tensor) -> tuple[Any, Any]:
    """Return what two weights have alike where they are one, as tied ones, on the meta device too."""
    return weight.untyped_storage()._cdata, weight.storage_offset()


def _source_of(name: str, old: dict[str, Tensor]) -> str | None:
    """Return the name of the old weight that a new one is made from; None if there is none."""
    local = name.replace(_GLOBAL, ".")
    return name if name in old else local if local in old else None


def _with_direction(model: FormersModel, config: TransformerConfig) -> TransformerConfig:
    """Return the configuration for the direction that the given model has."""
    return config if config.causal is not None else config.swap(causal=model.config.causal)


def _check_given(model: FormersModel, config: TransformerConfig, extension: str, fresh: Sequence[str]) -> None:
    """Raise TypeError for arguments of another kind, ValueError for adapters and an extension that there is not."""
    if not isinstance(model, FormersModel):
        raise TypeError(
            f"a {type(model).__name__} was given; make it one of this library: formers.adapt.from_hf(model)"
        )
    if any(".base_layer." in name for name in model.state_dict()):
        raise ValueError(
            "the model has adapters in it (PEFT), whose weights have no place; merge_and_unload() them first"
        )
    if type(config) is not type(model.config):
        raise TypeError(
            f"config must be a {type(model.config).__name__}, as the model's is, but {quoted(config)} "
            f"({type(config).__name__}) was given; write model.config.swap(mixer=…)"
        )
    if extension not in get_args(Extension):
        raise ValueError(f"extension={extension!r} was given; expected one of {', '.join(get_args(Extension))}")
    if isinstance(fresh, str):
        raise TypeError(f"fresh must list names of weights, or their ends; write fresh=[{fresh!r}]")


def _check_configs(old: TransformerConfig, new: TransformerConfig) -> None:
    """Raise ValueError where the configurations differ in more than the mixer and the context length."""
    exchangeable = all(isinstance(one.computation, _ONE_LAYER_A_STEP) for one in (old, new))
    for name in (*_SAME, *(() if exchangeable else ("computation",))):
        if not mean_the_same(getattr(old, name), getattr(new, name)):
            raise ValueError(
                f"the given model has {name}={getattr(old, name)}, but the new configuration "
                f"{name}={getattr(new, name)}; start from model.config.swap(mixer=…), which keeps the rest"
            )
    if old.norm_at_end() != new.norm_at_end():
        raise ValueError(
            f"the given model has {old.norm_at_end()} behind its last layer, but the new configuration "
            f"{new.norm_at_end()}; leave out final_norm={new.final_norm}"
        )
    if new.causal is not None and bool(new.causal) != bool(old.causal):
        raise ValueError(f"the given model has causal={old.causal}, but the new configuration causal={new.causal}")
    if type(old.position) is not type(new.position):
        raise ValueError(
            f"the given model has position {old.position}, and {new.position} is of another kind: "
            "the weights would not know it"
        )
    offsets = [getattr(one.position, "offset", 0) for one in (old, new) if isinstance(one.position, Learned)]
    if len(set(offsets)) > 1:
        raise ValueError(f"the given model has learned(offset={offsets[0]}), and {offsets[1]} was asked for; keep it")


def _check_mixers(before: TransformerConfig, target: FormersModel, fresh: tuple[str, ...]) -> None:
    """Raise Unsupported if nothing of a layer's new mixer comes from the given model."""
    taken, old = {place_of(name) for name in target.state_dict() if name not in set(fresh)}, mixers_by_place(before)
    for place, mixer in mixers_by_place(target.config).items():
        if mixer != old.get(place) and place not in taken:
            raise Unsupported(
                f"{mixer} has no weight in common with the given model's mixer; train it from the "
                "start, or take one with q_proj, k_proj, v_proj and o_proj, such as longformer(), bigbird() or "
                "sparse(); with replace=True, what is around it is kept"
            )
