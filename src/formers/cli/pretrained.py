"""Pretrained models and texts as commands are given them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


_OTHER_HEAD = re.compile("For(?!CausalLM|ConditionalGeneration)|^(MaskedLM|SequenceClassifier|TokenClassifier)$")
"""In the name of a model's class: it predicts something else than the next token."""
_NO_GGUF = ", with config.json and weights in safetensors, as classifiers are not read from GGUF files"
_NO_CAUSAL = (
    "no causal language model, the kind that predicts each token from those before it; give one. The score of a "
    "classifier on a task is measured by `formers adapt MODEL --task TASK`"
)


def short_name(name: str) -> str:
    """Return what a model is called in results: the name of its folder, however that is written, or its own."""
    return Path(os.path.abspath(Path(name).expanduser())).name


def read_model(name: str, gguf: str | None) -> tuple[PreTrainedModel, Any]:
    """Return a causal language model in float32, and its tokenizer, from a folder or the hub.

    Raise ValueError for a path where no model is, and for quantised weights; `gguf` is a file in the folder, whose
    weights are made into numbers. Raise FileNotFoundError where neither a folder nor the hub has the model: within
    seconds, also where the hub is out of reach. Raise ValueError for a model of another kind, such as an encoder.
    """
    from transformers import AutoModelForCausalLM

    model, tokenizer, missing = _read(AutoModelForCausalLM, name, gguf)
    if missing:
        raise ValueError(
            f"{name} has no trained head that predicts words (without {_first(sorted(missing))}), so it is {_NO_CAUSAL}"
        )
    return model, tokenizer


def read_classifier(name: str) -> tuple[PreTrainedModel, Any]:
    """Return a classifier of texts in float32, and its tokenizer, from a folder or the hub.

    Raise what `read_model` does, and ValueError for a model whose head is not trained.
    """
    from transformers import AutoModelForSequenceClassification

    model, tokenizer, missing = _read(AutoModelForSequenceClassification, name, None)
    if missing:
        raise ValueError(
            f"{name} has no trained head for classes (without {_first(sorted(missing))}); give a model that was "
            "fine-tuned on the task"
        )
    return model, tokenizer


def _read(kind: Any, name: str, gguf: str | None) -> tuple[PreTrainedModel, Any, set[str]]:
    """Return a model of a kind, its tokenizer, and the names of the weights that it came without."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import formers  # noqa: F401  so that its own models are known
    from formers.machine.hub import hub_trouble, only_cached
    from formers.machine.quiet_libraries import quiet_loading

    wants_words = kind is AutoModelForCausalLM
    _check_place(name, gguf, takes_gguf=wants_words)
    trouble = None if Path(name).is_dir() else hub_trouble()
    more: dict[str, Any] = only_cached(trouble) | ({} if gguf is None else {"gguf_file": gguf})
    with _missing_is_said(name, trouble):
        if gguf is None:
            _check_config(name, only_cached(trouble), wants_words=wants_words)
        with quiet_loading() if Path(name).is_dir() else nullcontext():  # of a download, the bars are wanted
            if gguf is None and Path(name).is_dir() and not has_tokenizer(Path(name)):
                raise no_tokenizer(name)
            tokenizer = AutoTokenizer.from_pretrained(name, **more)
            model, found = kind.from_pretrained(name, dtype=torch.float32, output_loading_info=True, **more)
            return model.eval(), tokenizer, set(found["missing_keys"])


def _check_place(name: str, gguf: str | None, *, takes_gguf: bool) -> None:
    """Raise ValueError for a path where no model is: nothing, a file, or a folder without what is to be read."""
    place = Path(name).expanduser()
    if place.is_file():
        how = "the folder of a model"
        if place.suffix == ".gguf":
            how = f"{place.parent} --gguf {place.name}" if takes_gguf else f"{how}{_NO_GGUF}"
        raise ValueError(f"{name} is a file; give {how}")
    if not place.is_dir():
        if name.startswith((".", "/", "~")):
            raise ValueError(f"there is no folder {name}; give one with a model and its tokenizer, or a hub name")
        return  # a name that the hub may know
    if not (place / (gguf or "config.json")).is_file():
        others = sorted(file.name for file in place.glob("*.gguf"))
        hint = ""
        if others:
            hint = f"; it has a GGUF file: give --gguf {others[0]}" if takes_gguf else f"; give a folder{_NO_GGUF}"
        raise ValueError(f"{name} holds no {gguf or 'config.json'}, and so no model to be read{hint}")


_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json")


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer's files, some or all."""
    return any((folder / file).is_file() for file in _TOKENIZER)


def no_tokenizer(name: str) -> ValueError:
    """Return the error for a model that came without a tokenizer."""
    return ValueError(
        f"{name} holds a model and no tokenizer, so that no text can be given to it; models of text that `formers "
        "train` keeps have one, and of a pretrained model, copy the files of the tokenizer beside it"
    )


def _first(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _check_config(name: str, options: dict[str, Any], wants_words: bool) -> None:
    """Raise ValueError for a model with quantised weights, and for another kind where one that predicts words is
    wanted."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, **options)
    others = [kind for kind in config.architectures or () if _OTHER_HEAD.search(kind)]
    if wants_words and others:
        raise ValueError(f"{name} holds a {others[0]}, which is {_NO_CAUSAL}")
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None:
        or_gguf = ", or a GGUF file with --gguf, whose weights are made into numbers" if wants_words else ""
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised.quant_method
        raise ValueError(
            f"{name} has quantised weights ({method}), which can be neither compared nor trained here; give the "
            f"model in float16 or float32{or_gguf}"
        )


@contextmanager
def _missing_is_said(name: str, trouble: str | None) -> Iterator[None]:
    """Raise FileNotFoundError where a model that is no folder cannot be had."""
    try:
        yield
    except OSError as error:
        if Path(name).exists():
            raise
        said = trouble or str(error).splitlines()[0]
        raise FileNotFoundError(
            f"there is no folder {name}, and no model of that name can be had from the hub ({said}); give the path of "
            "a folder with a model and its tokenizer, or a name that the hub knows"
        ) from error


def read_tokens(tokenizer: Any, text: Path | None) -> Tensor:
    """Return the tokens of a UTF-8 text, (L,); of Tiny Shakespeare without one."""
    import torch

    from formers.tasks.text import read_text

    content = read_text(None if text is None else str(text))
    return torch.tensor(tokenizer(content, verbose=False, split_special_tokens=True)["input_ids"], dtype=torch.long)


def rows_at_end(ids: Tensor, tokens: int, row: int) -> tuple[Tensor, Tensor]:
    """Return the last `tokens` of a text in rows, (N, row), and as many before them or fewer.

    Raise ValueError for a text shorter than a row.
    """
    count = min(tokens, len(ids)) // row
    if not count:
        what = f"the text has {len(ids):,} tokens" if len(ids) < row else f"--tokens are {tokens:,}"
        raise ValueError(f"{what}, not the {row:,} of one row; give a longer text, more --tokens, or a shorter --row")
    before = ids[: len(ids) - count * row][-count * row :]
    return ids[-count * row :].view(count, row), before[len(before) % row :].view(-1, row)


def parse_lengths(text: str) -> list[int]:
    """Return the lengths in `1k,4k,8192`; 1k is 1,024. Raise ValueError for anything else."""
    lengths = []
    for word in text.split(","):
        number = word.strip().lower()
        digits = number.removesuffix("k")
        if not digits.isdecimal() or not 0 < int(digits) <= 1 << 24:
            raise ValueError(f"{text!r} was given as lengths; expected like '1k,4k,8k' (1k is 1,024 tokens)")
        lengths.append(int(digits) * (1024 if number.endswith("k") else 1))
    return sorted(set(lengths))
