"""Trained models of text, as commands take them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from formers.models import CausalLM
    from formers.tasks.characters import Characters
    from formers.tasks.corpus.pieces import Pieces


def model_folder(folder: Path) -> Path:
    """Return the folder of the one model in it.

    Raise `FileNotFoundError` if there is none, `ValueError` if there are several.
    """
    if (folder / "config.json").is_file():
        return folder
    found = sorted(path.parent for path in folder.glob("models/*/config.json"))
    if not found:
        raise FileNotFoundError(f"{folder} holds no model; train one with: formers train shakespeare --folder {folder}")
    if len(found) > 1:
        raise ValueError(f"{folder} holds {len(found)} models; choose one of them:\n" + "\n".join(map(str, found)))
    return found[0]


def text_coder(place: Path) -> Characters | Pieces:
    """Return the alphabet beside a model, or its tokenizer, where it has one and no alphabet.

    Raise `FileNotFoundError` where it has neither.
    """
    from formers.tasks.characters import Characters
    from formers.tasks.corpus.pieces import Pieces

    has_tokenizer = any((place / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    if (place / "characters.json").is_file() or not has_tokenizer:
        return Characters.load(place)
    return Pieces.load(place)


def text_model(place: Path, coder: Characters | Pieces) -> CausalLM:
    """Return the model in a folder. Raise ValueError where it is not whole, or knows other characters or tokens."""
    from formers.machine.quiet_libraries import quiet_loading
    from formers.models import CausalLM
    from formers.models.loading import check_finite

    with quiet_loading():
        model: CausalLM = CausalLM.from_pretrained(place)
    check_finite(model, place)
    coder.check_size(model.config.vocab_size, place)
    return model.eval()


def split_ids(
    coder: Characters | Pieces, text: Path | None, *, drop_unknown: bool = False
) -> dict[Literal["train", "validation", "test", "all"], Tensor]:
    """Return the parts of a text as the model's numbers, (N,) each, and all of it, divided as tasks divide it.

    Args:
        text: a UTF-8 text, and with a tokenizer any corpus that the task `text` reads; Tiny Shakespeare for None.
        drop_unknown: leave out characters that the model does not know; otherwise they raise ValueError.
    """
    import torch

    from formers.tasks.characters import Characters
    from formers.tasks.corpus.corpus import joined, split_texts
    from formers.tasks.text import cut, read_text

    path = None if text is None else str(text)
    kept = coder.without_unknown if drop_unknown else _as_it_is
    if isinstance(coder, Characters):
        ids = coder.encode(kept(read_text(path)))
        train, validation, test = cut(ids)
    else:
        texts = split_texts(path)
        several = any(len(some) > 1 for some in texts.values())
        train, validation, test = (
            joined(coder, [*map(kept, texts[side])], several).long() for side in ("train", "validation", "test")
        )
        ids = torch.cat([train, validation, test])
    return {"train": train, "validation": validation, "test": test, "all": ids}


def _as_it_is(text: str) -> str:
    return text
