"""Answers that are kept belong to one model, one tokenizer and one way to write."""

from __future__ import annotations

from dataclasses import replace

from formers.evaluation.coder import AlphabetCoder, TokenizerCoder
from formers.evaluation.fingerprint import answers_key
from formers.tasks.characters import Characters
from formers.tasks.corpus.tokenizer_kinds import byte_tokenizer

from .small_models import CHARACTERS, CHOICES, text_model


def test_answers_belong_to_all_that_they_depend_on() -> None:
    assert len({answers_key(text_model(name)) for name in CHOICES}) == len(CHOICES)
    model, writes = text_model("softmax"), text_model("softmax")
    writes.model.generation_config.repetition_penalty = 1.5
    others = [
        replace(model, coder=AlphabetCoder(Characters(CHARACTERS.alphabet[::-1]))),
        replace(model, coder=AlphabetCoder(CHARACTERS, end=0)),
        replace(model, length=8),
        writes,
    ]
    assert len({answers_key(one) for one in [model, *others]}) == 5
    assert answers_key(text_model("softmax", batch=1)) == answers_key(model)


def test_answers_belong_to_a_tokenizer() -> None:
    model, more = text_model("softmax"), byte_tokenizer()
    more.add_tokens(["the"])
    keys = [
        answers_key(replace(model, coder=TokenizerCoder(one))) for one in (byte_tokenizer(), byte_tokenizer(), more)
    ]
    assert keys[0] == keys[1] != keys[2]
