"""`formers generate`: let a trained model write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from formers.cli.say import say


def generate(
    folder: Annotated[Path, typer.Argument(help="A model's folder, or a study's that holds one model.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="What the text starts with.", show_default="a line break, or the first character known"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Characters to write.")] = 300,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 always takes the likeliest; 1 samples as learned.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
) -> None:
    """Continue a prompt with a model that `formers train` or `formers ablate` has kept.

    \b
    formers generate my-model --prompt 'JULIET:' --tokens 500
    """
    from formers.models import CausalLM
    from formers.models.loading import check_finite
    from formers.tasks.characters import Characters
    from formers.tasks.shakespeare import generate as continued

    place = _model_folder(folder)
    characters = Characters.load(place)
    ids = characters.encode(characters.start if prompt is None else prompt)
    if not len(ids):
        raise ValueError("the prompt is empty; give at least one character")
    model = CausalLM.from_pretrained(place)
    check_finite(model, place)
    characters.check_size(model.config.vocab_size, place)
    say(characters.decode(continued(model, ids, tokens=tokens, temperature=temperature, seed=seed)))


def _model_folder(folder: Path) -> Path:
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
