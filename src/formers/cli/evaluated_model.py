"""Models of text as `formers eval` and `formers needle` are given them, with characters or with a tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli.say import say

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from formers.evaluation.coder import EvaluationCoder
    from formers.evaluation.text_model import TextModel
    from formers.models.pretrained import FormersModel

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A causal language model: a folder, a study's, or a hub name.")
]
OtherMixer = Annotated[str | None, typer.Option(help="Another attention, as in adapt.")]
OtherLayers = Annotated[
    str | None, typer.Option("--layers", help="Layers that take it, '::2' or '0,3,8:'; the others keep theirs.")
]
Gguf = Annotated[str | None, typer.Option(help="The model's GGUF file, in its folder (needs gguf).")]
Batch = Annotated[int, typer.Option("--batch", "--batch-size", min=1, help="Texts read side by side.")]
Precision = Annotated[str, typer.Option(help="Of the weights: fp32, bf16 or fp16.")]
ResultsFolder = Annotated[
    Path | None, typer.Option(help="Where results are written.", show_default="evaluation/ in the model's folder")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]


def open_text_model(
    name: str,
    mixer: str | None = None,
    *,
    layers: str | None = None,
    gguf: str | None = None,
    length: int | None,
    batch: int,
    device: str,
    precision: str,
) -> tuple[TextModel, Path]:
    """Return a model as evaluations ask it, and the folder that belongs to it: its own, or one for a model of the hub.

    Args:
        mixer: another attention than the model's own.
        layers: those that take it, as text; all of them unless given.
        gguf: the file in the model's folder that holds its weights.

    Raises:
        FileNotFoundError: where there is no model.
        ValueError: for a model without a tokenizer, for one that predicts no next token, for a mixer with weights that
            the model does not have, for an unknown device or precision, and for a length beyond the positions that were
            learned.
    """
    from formers.evaluation.text_model import TextModel
    from formers.machine.device import choose_device

    chosen, dtype = choose_device(device), _dtype(precision)
    place = Path(name).expanduser()
    if gguf is not None:
        model, coder = _pretrained(str(place), gguf)
    elif place.is_dir():
        from formers.cli.text_model import model_folder

        place = model_folder(place)
        model, coder = _from_folder(place)
    else:
        model, coder = _pretrained(name)
        place = Path("evaluation") / name.strip("/").replace("/", "--")
    if mixer is not None:
        model = _with_attention(model, mixer, layers, name)
    elif layers is not None:
        raise ValueError(f"--layers {layers} are those that take --mixer, and none was given; give both")
    check_length(model, length)
    return TextModel.of(model.to(device=chosen, dtype=dtype), coder, length=length, batch=batch), place


def _from_folder(place: Path) -> tuple[PreTrainedModel, EvaluationCoder]:
    """Return the model in a folder, and its alphabet or tokenizer."""
    from formers.cli.pretrained import has_tokenizer, no_tokenizer
    from formers.cli.text_model import text_model
    from formers.evaluation.coder import AlphabetCoder
    from formers.tasks.characters import Characters

    if (place / "characters.json").is_file():
        characters = Characters.load(place)
        return text_model(place, characters), AlphabetCoder(characters)
    if not has_tokenizer(place):
        raise no_tokenizer(str(place))
    return _pretrained(str(place))


def _pretrained(name: str, gguf: str | None = None) -> tuple[PreTrainedModel, EvaluationCoder]:
    """Return a model that Hugging Face's library loads, with its tokenizer."""
    from formers.cli.pretrained import read_model
    from formers.evaluation.coder import TokenizerCoder

    model, tokenizer = read_model(name, gguf)
    return model, TokenizerCoder(tokenizer)


def _with_attention(model: PreTrainedModel, mixer: str, layers: str | None, name: str) -> PreTrainedModel:
    """Return a model with another attention in some layers, or in all; the others have their own function.

    Raise ValueError for layers that there are not.
    """
    from formers.adapt import use_attention
    from formers.adapt.layer_mixers import layer_numbers
    from formers.models.pretrained import FormersModel

    if isinstance(model, FormersModel):
        return _with_mixer(model, mixer, layers, name)
    if layers is None:
        return use_attention(model, mixer)
    depth = model.config.num_hidden_layers
    taken = layer_numbers(layers, depth)
    return use_attention(model, [mixer if layer in taken else "softmax()" for layer in range(depth)])


def _with_mixer(model: FormersModel, mixer: str, layers: str | None, name: str) -> PreTrainedModel:
    """Return a model of this library with another mixer, on the weights that it has, and say what is dropped of them.

    Raise ValueError for a mixer with weights that the model does not have: what it answers would tell nothing.
    """
    import warnings

    from formers.adapt import convert

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what it says is said here
        made = convert(model, mixer if layers is None else {layers: mixer})
    learned = dict(made.model.named_parameters())
    if any(weight in learned for weight in made.fresh):
        raise ValueError(
            f"{name} was not trained with {mixer}:\n{made.caveats}\nGive a mixer that takes the weights which are "
            "there, or train it first, by `formers repair` or anew"
        )
    if made.left:
        say(f"formers: {name} with {mixer}:\n{made.caveats}", err=True)
    taken: PreTrainedModel = made.model
    return taken


def check_length(model: PreTrainedModel, length: int | None) -> None:
    """Raise ValueError where more tokens are to be read than the model learned positions for."""
    from formers.models import TransformerConfig
    from formers.positions import Learned

    config: Any = model.config
    if length is None or not isinstance(config, TransformerConfig) or not isinstance(config.position, Learned):
        return
    if length > config.context_length:
        raise ValueError(
            f"--length {length:,} is beyond the {config.context_length:,} positions that the model has learned; give "
            "that many or fewer"
        )


def _dtype(precision: str) -> torch.dtype:
    """Return the dtype of weights. Raise ValueError for an unknown precision."""
    import torch

    from formers.part import check_names

    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    check_names("--precision", [precision], list(types), word="precision")
    return types[precision]
