"""`formers generate`: let a trained model write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from formers.cli import options
from formers.cli.say import say
from formers.cli.text_model import model_folder, text_coder, text_model


def generate(
    folder: Annotated[Path, typer.Argument(help="A model's folder, or a study's that holds one model.")],
    prompt: Annotated[
        str | None,
        typer.Option(help="What the text starts with.", show_default="a line break, or the first character known"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Characters to write, or tokens of the model's tokenizer.")] = 300,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 always takes the likeliest; 1 samples as learned.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text on the same device.")] = 0,
    device: options.ModelDevice = "auto",
    parts: options.Parts = None,
) -> None:
    """Continue a prompt with a trained model. `formers train` and `formers ablate` keep models.

    \b
    formers generate my-model --prompt 'JULIET:' --tokens 500
    """
    from formers.machine.device import choose_device
    from formers.tasks.continuation import generate as continued

    chosen, place = choose_device(device), model_folder(folder)
    coder = text_coder(place)
    ids = coder.encode(coder.start if prompt is None else prompt)
    if not len(ids):
        raise ValueError("the prompt is empty; give at least one character")
    model = text_model(place, coder).to(chosen)
    config, length = model.config, len(ids) + tokens
    if length > config.context_length and not config.memory.carried:
        say(
            f"formers: with its prompt the text has {length:,} {coder.unit}s, and the model was built for "
            f"{config.context_length:,}: what stands behind them may make no sense",
            err=True,
        )
    say(coder.decode(continued(model, ids, tokens=tokens, temperature=temperature, seed=seed)))
