"""Prompts with facts in words have the length and the depth that were asked for, and say what is asked for."""

from __future__ import annotations

import re

import pytest

from formers.evaluation.coder import TokenizerCoder
from formers.evaluation.needle_text import NeedleText
from formers.tasks.corpus.tokenizer_kinds import byte_tokenizer
from formers.tasks.needle.facts import Hiding

CODER = TokenizerCoder(byte_tokenizer())
LINES = ["We were walking to the river.", "It was cold,", "and nobody spoke a word.", "Then the bells rang."]


def needle(**options: int) -> NeedleText:
    return NeedleText(hiding=Hiding(**options), lines=LINES, coder=CODER)


@pytest.mark.parametrize("options", [{}, {"keys": 3}, {"keys": 2, "values": 3}, {"keys": 2, "hops": 2}])
@pytest.mark.parametrize("length", [1500, 2501])
def test_a_prompt_and_its_answer_have_the_length_that_was_asked_for(options: dict[str, int], length: int) -> None:
    text = needle(**options)
    for depth in (0.0, 0.5, 1.0):
        prompt = text.prompt(length, depth, seed=3)
        assert len(prompt.tokens) + text.room == length
        assert prompt == text.prompt(length, depth, seed=3)
        assert prompt != text.prompt(length, depth, seed=4)
        assert len(prompt.answers) == options.get("values", 1)
        assert len(", and ".join(prompt.answers)) < text.room


def test_the_fact_stands_at_its_depth() -> None:
    for depth in (0.0, 0.3, 1.0):
        told = CODER.decode(needle(keys=2).prompt(2000, depth, seed=0).tokens)
        name = re.search(r"The secret number of (\w+) is$", told)
        assert name is not None
        place = told.index(f"The secret number of {name[1]} is") / (len(told) - len(name[0]) - 40)
        assert place == pytest.approx(depth, abs=0.06)


def test_several_values_of_one_key() -> None:
    prompt = needle(keys=2, values=3).prompt(1500, 0.5, seed=1)
    told = CODER.decode(prompt.tokens)
    name = re.search(r"The secret numbers of (\w+) are$", told)
    assert name is not None
    assert tuple(re.findall(rf"One of the secret numbers of {name[1]} is (\d+)\.\n", told)) == prompt.answers
    assert len(re.findall(r"One of the secret numbers of \w+ is \d+\.\n", told)) == 6


def test_a_chain_of_keys_leads_to_the_value() -> None:
    prompt = needle(keys=2, hops=2).prompt(1500, 0.5, seed=1)
    told = CODER.decode(prompt.tokens)
    links = dict(re.findall(r"The secret number of (\w+) is the secret number of (\w+)\.\n", told))
    numbers = dict(re.findall(r"The secret number of (\w+) is (\d+)\.\n", told))
    name = told.split()[-2]
    assert (len(links), len(numbers)) == (4, 2)
    assert numbers[links[links[name]]] == prompt.answers[0]


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="300 tokens leave room for"):
        needle(keys=6).prompt(300, 0.5, seed=0)
    with pytest.raises(ValueError, match="there are 48 names, and 60 keys"):
        needle(keys=30, hops=1).prompt(9000, 0.5, seed=0)
