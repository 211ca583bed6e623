from __future__ import annotations

import pytest
import torch

from formers.tasks.characters import Characters


def test_the_number_of_a_character_is_its_place() -> None:
    known = Characters("zé\n日\U0001f600a")  # in any order, as a saved alphabet may be
    text = "a日é\U0001f600z\n\na"
    assert known.encode(text).tolist() == [known.alphabet.index(character) for character in text]
    assert known.decode(known.encode(text)) == text
    assert known.encode("").shape == (0,)
    assert known.encode(text).dtype == torch.long


@pytest.mark.parametrize("unknown", ["b", "\x00", "\U0001f601", "\U0010ffff", "\ud800"])
def test_characters_outside_the_alphabet_are_named(unknown: str) -> None:
    with pytest.raises(ValueError, match="does not know the characters") as raised:
        Characters("a\U0001f600").encode(f"a{unknown}a")
    assert repr([unknown]) in str(raised.value)
