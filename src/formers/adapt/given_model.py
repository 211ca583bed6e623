"""The check that a model was given, and not its name or what wraps it."""

from __future__ import annotations

from transformers import PreTrainedModel

from formers.part import quoted


def check_given_model(model: object) -> None:
    """Raise TypeError for what is no model of Hugging Face's or of this library, with how to get one."""
    if isinstance(model, PreTrainedModel):
        return
    if hasattr(model, "merge_and_unload"):
        raise TypeError(f"a {type(model).__name__} was given, which wraps a model; give model.merge_and_unload()")
    if isinstance(getattr(model, "model", None), PreTrainedModel):
        raise TypeError(f"a {type(model).__name__} was given, which holds a model; give its .model")
    raise TypeError(
        f"a model is needed, but {quoted(model)} ({type(model).__name__}) was given; load one, such as "
        "AutoModelForCausalLM.from_pretrained(path)"
    )
