"""Texts that are written in padded batches are those that are written one at a time, token by token."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from formers.evaluation.coder import AlphabetCoder
from formers.evaluation.likelihood import empty_memory
from formers.evaluation.text_model import TextModel
from formers.evaluation.writing import Writing, continuations

from .small_models import CHOICES, CODER, text_model


def prompts(longest: int) -> list[list[int]]:
    stream = random.Random(0)
    return [[stream.randrange(29) for _ in range(stream.randint(1, longest))] for _ in range(5)]


@torch.no_grad()
def direct(model: TextModel, prompt: list[int], tokens: int) -> str:
    """The likeliest token after all before it, again and again."""
    written = list[int]()
    memory = empty_memory() if model.carries else {}
    whole = (len(prompt) - 1) // model.length * model.length if model.carries else 0
    for first in range(0, whole, model.length):
        model.model(input_ids=torch.tensor([prompt[first : first + model.length]]), **memory)
    given = prompt[whole:]
    for _ in range(tokens):
        scores = model.model(input_ids=torch.tensor([given]), **memory).logits[0, -1]
        written.append(int(scores.argmax()))
        given = [written[-1]] if model.carries else [*given, written[-1]]
    return CODER.decode(written)


@pytest.mark.parametrize("name", CHOICES)
def test_batches_write_what_one_prompt_at_a_time_gives(name: str) -> None:
    model = text_model(name)
    given = prompts(longest=40 if model.carries else 10)
    found = dict(continuations(model, given, Writing(tokens=6)))
    assert [found[i].text for i in range(5)] == [direct(model, prompt, 6) for prompt in given]
    assert not any(written.is_cut for written in found.values())


def test_a_text_ends_before_a_word_that_ends_it() -> None:
    model = text_model("softmax")
    [(_, whole)] = continuations(model, [[1, 2, 3]], Writing(tokens=8))
    end = whole.text[3:5]
    assert end
    [(_, cut)] = continuations(model, [[1, 2, 3]], Writing(tokens=8, until=("", end)))
    assert cut.text == whole.text.split(end)[0]


def test_a_text_ends_with_the_token_that_ends_texts() -> None:
    model = text_model("softmax")
    [(_, whole)] = continuations(model, [[1, 2, 3]], Writing(tokens=8))
    end = CODER.encode(whole.text)[2]
    ended = replace(model, coder=AlphabetCoder(CODER.characters, end=end))
    [(_, found)] = continuations(ended, [[1, 2, 3]], Writing(tokens=8))
    assert found.text == whole.text[: CODER.encode(whole.text).index(end)]


def test_a_long_prompt_loses_its_beginning() -> None:
    model, long = text_model("linear"), [i % 29 for i in range(40)]
    found = dict(continuations(model, [long, long[-10:]], Writing(tokens=6)))
    assert found[0].text == found[1].text
    assert (found[0].is_cut, found[1].is_cut) == (True, False)
    with pytest.raises(ValueError, match="16 tokens are to be written, and the model reads 16 at most"):
        list(continuations(model, [long], Writing(tokens=16)))


def test_samples_are_drawn_where_a_task_asks_for_them() -> None:
    model = text_model("linear")
    drawn = Writing(tokens=6, sampling={"do_sample": True, "temperature": 5.0})
    torch.manual_seed(0)
    texts = {next(iter(continuations(model, [[1]], drawn)))[1].text for _ in range(4)}
    assert len(texts) > 1
