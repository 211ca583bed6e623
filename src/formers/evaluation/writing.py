"""How texts go on: continuations by `generate()`, in padded batches, up to a word that ends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from formers.evaluation.coder import EvaluationCoder
from formers.evaluation.likelihood import empty_memory, padded
from formers.evaluation.text_model import TextModel
from formers.part import evaluating


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How to write: so many tokens at most, up to the first of the texts in `until`; the likeliest token by default.

    `sampling` are options of Hugging Face's `generate`, as `do_sample=True, temperature=0.8`.
    """

    tokens: int
    until: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)


class Written(NamedTuple):
    """The text that follows a prompt, and whether the prompt lost its beginning, as it was too long."""

    text: str
    is_cut: bool


class _Until(StoppingCriteria):  # type: ignore[misc]
    """Ends each row that holds one of some texts behind its prompt."""

    def __init__(self, coder: EvaluationCoder, until: Sequence[str], prompt: int) -> None:
        self.coder, self.until, self.prompt = coder, [end for end in until if end], prompt

    def __call__(self, input_ids: Tensor, scores: Any, **more: Any) -> Tensor:
        texts = [self.coder.decode(row) for row in input_ids[:, self.prompt :].tolist()]
        return torch.tensor([any(end in text for end in self.until) for text in texts], device=input_ids.device)


def continuations(
    model: TextModel, prompts: Sequence[Sequence[int]], writing: Writing
) -> Iterator[tuple[int, Written]]:
    """Yield the number of each prompt with the text that follows it, in any order.

    Prompts of like length are continued side by side, padded before their beginning under a mask. One that leaves no
    room for `tokens` more loses its beginning, unless the model carries a memory, which reads it segment after segment.

    Raises:
        ValueError: where the model reads no more than the tokens to be written, and for a prompt of nothing where the
            tokenizer has no token that begins a text.
    """
    room = model.length - writing.tokens
    if room < 1 and not model.carries:
        raise ValueError(
            f"{writing.tokens:,} tokens are to be written, and the model reads {model.length:,} at most, so that none "
            "is left for the prompt; take a task that asks for fewer, or a larger --length, if its positions allow it"
        )
    rows = [_prompt(model, prompt, room) for prompt in prompts]
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    with evaluating(model.model):
        for numbers in _alike(model, order, rows):
            texts = _write(model, [rows[number] for number in numbers], writing)
            for number, text in zip(numbers, texts, strict=True):
                yield number, Written(text, len(prompts[number]) > len(rows[number]))


def _prompt(model: TextModel, prompt: Sequence[int], room: int) -> Sequence[int]:
    """Return what is read of a prompt."""
    if not prompt:
        if model.coder.start is None:
            raise ValueError("a prompt is empty, and the model's tokenizer has no token that begins a text")
        return [model.coder.start]
    return prompt if model.carries else prompt[-room:]


def _alike(model: TextModel, order: Sequence[int], rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield numbers of rows that are continued side by side: of one length where a memory reads them in segments."""
    together: list[int] = []
    for number in order:
        other = model.carries and together and len(rows[together[0]]) != len(rows[number])
        if other or len(together) == model.batch:
            yield together
            together = []
        together.append(number)
    if together:
        yield together


def _write(model: TextModel, rows: Sequence[Sequence[int]], writing: Writing) -> list[str]:
    """Return the text that follows each row."""
    ids_bl, mask_bl = (tensor.to(model.model.device) for tensor in padded(rows, left=True))
    length, end = ids_bl.shape[1], model.coder.end
    until = [_Until(model.coder, writing.until, length)] if writing.until else []
    whole = model.model.generate(
        input_ids=ids_bl,
        attention_mask=mask_bl,
        max_new_tokens=writing.tokens,
        eos_token_id=end,
        pad_token_id=0 if end is None else end,
        stopping_criteria=StoppingCriteriaList(until),
        **({"do_sample": False} | dict(writing.sampling)),
        **_read_before(model, ids_bl),
    )
    return [_text(model.coder, row, writing.until) for row in whole[:, length:].tolist()]


def _read_before(model: TextModel, ids_bl: Tensor) -> dict[str, Any]:
    """Return the memory of all whole segments before the last token, for a model that carries one."""
    whole = (ids_bl.shape[1] - 1) // model.length * model.length if model.carries else 0
    if not whole:
        return {}
    memory = empty_memory()
    for segment in ids_bl[:, :whole].split(model.length, 1):
        model.model(input_ids=segment, **memory)
    return memory


def _text(coder: EvaluationCoder, ids: list[int], until: Sequence[str]) -> str:
    """Return the text of what was written, up to the token or the first text that ends it."""
    if coder.end is not None and coder.end in ids:
        ids = ids[: ids.index(coder.end)]
    text = coder.decode(ids)
    for end in until:
        text = text.split(end, 1)[0] if end else text
    return text
