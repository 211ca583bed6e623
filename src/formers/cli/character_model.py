"""Trained models of text, as commands take them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """Return the alphabet beside a model, or its tokenizer, where it has one and no alphabet."""
    from formers.tasks.characters import Characters
    from formers.tasks.corpus.pieces import Pieces

    has_tokenizer = (place / "tokenizer.json").is_file() and not (place / "characters.json").is_file()
    return Pieces.load(place) if has_tokenizer else Characters.load(place)


def character_model(place: Path, characters: Characters | Pieces) -> CausalLM:
    """Return the model in a folder. Raise ValueError where it is not whole, or knows other characters or tokens."""
    from formers.machine.quiet_libraries import no_loading_bar
    from formers.models import CausalLM
    from formers.models.loading import check_finite

    with no_loading_bar():
        model: CausalLM = CausalLM.from_pretrained(place)
    check_finite(model, place)
    characters.check_size(model.config.vocab_size, place)
    return model.eval()
