"""Pictures of patterns."""

from formers.patterns import Window
from formers.patterns.picture import picture, pictures


def test_a_picture_has_a_line_for_every_query():
    assert picture(Window(1), 4) == "██··\n███·\n·███\n··██"
    assert picture(Window(2), 4, causal=True) == "█···\n██··\n·██·\n··██"


def test_pictures_say_how_much_is_seen():
    lines = pictures(Window(2), 8).splitlines()
    assert "all, 53% of 8²" in lines[0]
    assert "causal, 23% of 8²" in lines[0]
    assert len(lines) == 9


def test_every_pattern_can_be_drawn(pattern):
    assert len(picture(pattern, 96).splitlines()) == 96
