"""Checks of a model that was loaded: each weight came from the file and has its place in the model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig

from formers.part import Unsupported, check_names

_Config = TypeVar("_Config", bound=PreTrainedConfig)
_WHERE = ("cache_dir", "local_files_only", "proxies", "revision", "subfolder", "token")
"""Arguments of `from_pretrained` that say where a file is."""
_SHOWN = 4
"""The most names that an error lists."""
_REMEDY = "copy the folder again, or save the model anew with save_pretrained"
_CONVERT = (
    "load the model as it was saved, and change it by formers.models.convert_weights(model, model.config.swap(…)), "
    "which tells what fits"
)
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


@contextmanager
def naming(folder: object) -> Iterator[None]:
    """Turn errors of reading a model, which do not say from which folder, into a ValueError that does."""
    try:
        yield
    except (SafetensorError, KeyError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{folder}: its weights cannot be read, so the file is damaged or cut short "
            f"({type(error).__name__}: {error}); {_REMEDY}"
        ) from error
    except ValueError as error:
        if str(folder) in str(error):
            raise
        kind = Unsupported if isinstance(error, Unsupported) else ValueError
        raise kind(f"{folder}: {error}") from error


def refuse_unknown_option(error: TypeError, config_class: type[Any]) -> None:
    """Raise TypeError with the nearest right name if an error tells of an option that no model has."""
    found = _UNKNOWN.search(str(error))
    if found is not None:
        check_names(config_class.__name__, [found[1]], config_class.own_names())


def check_settings(folder: object) -> None:
    """Raise ValueError for a file of settings in a model's folder that is no mapping; nothing for a name on the hub.

    Raise FileNotFoundError for a path where nothing is, which Hugging Face takes for a name.
    """
    if str(folder).startswith(("/", "./", "../", "~")) and not Path(str(folder)).exists():
        raise FileNotFoundError(f"there is no folder {folder}; give one that save_pretrained has written")
    for name in ("config.json", "generation_config.json"):
        path = Path(str(folder)) / name
        if not path.is_file():
            continue
        try:
            settings = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not JSON that can be read: {str(error)[:200]}; {_REMEDY}") from None
        if not isinstance(settings, dict):
            raise ValueError(f"{path} must hold a mapping of settings, not a {type(settings).__name__}; {_REMEDY}")


def saved_config(config: _Config, folder: object, options: Mapping[str, Any]) -> _Config | None:
    """Return the configuration that was saved in a model's folder, or under its name on the hub.

    None where there is none that can be compared with `config`: beside weights alone, of another kind or damaged.

    Args:
        config: the one that was loaded, perhaps with changes.
        options: arguments of Hugging Face's `from_pretrained`.
    """
    where = {name: options[name] for name in _WHERE if options.get(name) is not None}
    where.setdefault("revision", getattr(config, "_commit_hash", None))
    try:
        saved, _ = config.get_config_dict(folder, **where)
        return config.from_dict(saved) if saved.get("model_type") == config.model_type else None
    except (OSError, TypeError, ValueError):  # `config` was given to be used in its place
        return None


def are_changed(saved: Any, config: Any) -> bool:
    """Return whether two configurations differ in an option of ours; the direction aside, which the head decides."""
    names = [name for name in config.own_names() if name != "causal"]
    return any(getattr(saved, name) != getattr(config, name) for name in names)


def check_whole(
    model: Any, info: dict[str, Any], folder: object, *, may_misfit: bool, is_changed: bool = False
) -> None:
    """Raise ValueError where a loaded model is not what the file says: weights missing, left over or of another shape.

    A model of another head than the saved one may lack all weights of its own, and of a pooler that only it has, which
    then start anew, and leave out those of the other head: transformers warns of them.

    Args:
        info: `output_loading_info` of Hugging Face's `from_pretrained`.
        may_misfit: `ignore_mismatched_sizes` of the same: weights of another shape start anew.
        is_changed: whether the model has other options than it was saved with.
    """
    same_head = type(model).__name__ in (model.config.architectures or ())
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    names = list(model.state_dict())
    head = {name for name in names if not name.startswith(prefix)}
    pooler = {name for name in names if name.startswith(f"{prefix}pooler.")}
    missing, extra = set(info["missing_keys"]), set(info["unexpected_keys"])
    if not same_head:
        for own in (head, pooler):
            missing -= own if own <= missing else set()
        extra = {name for name in extra if prefix and name.startswith(prefix) and f"{prefix}pooler." not in name}
    misfits = {} if may_misfit else {name: shapes for name, *shapes in info["mismatched_keys"]}
    wrong = [
        *([f"{_named(missing)} missing"] if missing else []),
        *([f"{_named(extra)} there without a place in the model"] if extra else []),
        *(f"{name} has the shape {tuple(got)} instead of {tuple(want)}" for name, (got, want) in misfits.items()),
    ]
    if wrong:
        what = "the options that were given beside it" if is_changed else "its config.json"
        raise ValueError(
            f"{folder}: the weights do not fit {what}, for a {type(model).__name__}: "
            f"{'; '.join(wrong[: _SHOWN + 2])}; {_CONVERT if is_changed else _REMEDY}"
        )


@torch.no_grad()
def check_finite(model: nn.Module, folder: object) -> None:
    """Raise ValueError if some weights of a loaded model are NaN or infinite. Cost: reads each once."""
    bad = [name for name, weight in model.state_dict().items() if not bool(weight.isfinite().all())]
    if bad:
        raise ValueError(
            f"{folder}: {_named(bad)} not finite (NaN or infinity), so its training diverged or the file is damaged; "
            "train it again, with a lower learning rate"
        )


def _named(names: Sequence[str] | set[str]) -> str:
    """Return "name and 3 more weights are", ready for what is wrong with them."""
    shown, rest = sorted(names)[:_SHOWN], len(names) - _SHOWN
    tail = f" and {rest} more weights" if rest > 0 else ""
    return f"{', '.join(shown)}{tail} {'is' if len(names) == 1 else 'are'}"
