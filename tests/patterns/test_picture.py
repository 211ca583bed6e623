"""Pictures of patterns."""

from formers.patterns import Every, Window
from formers.patterns.picture import picture, pictures, telling_length


def test_a_picture_has_a_line_for_every_query():
    assert picture(Window(1), 4) == "██··\n███·\n·███\n··██"
    assert picture(Window(2), 4, causal=True) == "█···\n██··\n·██·\n··██"


def test_pictures_say_how_much_is_seen():
    lines = pictures(Window(2), 8).splitlines()
    assert "all, 53% of 8²" in lines[0]
    assert "causal, 23% of 8²" in lines[0]
    assert len(lines) == 9


def test_every_pattern_can_be_drawn(pattern):
    assert len(picture(pattern, 48).splitlines()) == 48


def test_a_character_stands_for_several_tokens_of_a_long_sequence():
    """Of 130 tokens each character has three, the last one: 43·3 + 1."""
    lines = picture(Window(1), 130).splitlines()
    assert len(lines) == len(lines[0]) == 44
    assert lines[0][:3] == "▒▒·"
    assert lines[-1][-1] == "█"


def test_the_telling_length_leaves_out_half_of_the_pairs():
    assert telling_length(Window(4)) == 32
    assert telling_length(Window(32)) == 128
    assert telling_length(Every()) == 32
