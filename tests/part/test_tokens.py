"""Tokens cover the text, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from formers.part.tokens import tokens


@given(st.text(alphabet=st.sampled_from("ab_9.e+-'\"\\\n ()[]{}=,|&~#r") | st.characters()))
def test_only_spaces_lie_between_tokens(text: str) -> None:
    place = 0
    for token in tokens(text):
        assert text[token.start :].startswith(token.text)
        assert not text[place : token.start].strip()
        place = token.start + len(token.text)
    assert place == len(text)
    assert tokens(text)[-1].kind == "end"


def test_kinds() -> None:
    found = [(token.kind, token.text) for token in tokens("a.b(1e-5, 'x\\'y')|~ü # \"")]
    assert found == [
        *[("word", "a"), ("other", "."), ("word", "b"), ("sign", "("), ("number", "1e-5"), ("sign", ",")],
        *[("text", "'x\\'y'"), ("sign", ")"), ("sign", "|"), ("sign", "~"), ("word", "ü"), ("other", "#")],
        *[("open", '"'), ("end", "")],
    ]
