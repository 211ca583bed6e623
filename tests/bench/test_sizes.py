from __future__ import annotations

import pytest

from formers.bench.sizes import Sweep, read_sizes, size_text


@pytest.mark.parametrize(
    ("text", "values"), [("512", (512,)), ("8,2", (8, 2)), ("256..2048", (256, 512, 1024, 2048)), ("3..13", (3, 6, 12))]
)
def test_sizes_in_text(text: str, values: tuple[int, ...]) -> None:
    assert read_sizes("length", text) == values
    assert read_sizes("length", size_text(values)) == values


@pytest.mark.parametrize("text", ["", "many", "1,,2", "8..4", "0..4", "1..2..3"])
def test_unreadable_sizes_say_what_is_readable(text: str) -> None:
    with pytest.raises(ValueError, match="range to double through"):
        read_sizes("length", text)


def test_one_size_varies() -> None:
    sweep = Sweep(length=(64,), width=(32, 16))
    assert sweep.axis == "width"
    assert [(sizes.length, sizes.width, sizes.heads) for sizes in sweep] == [(64, 16, 4), (64, 32, 4)]
    with pytest.raises(ValueError, match="vary one size at a time"):
        Sweep(length=(1, 2), width=(16, 32))
    with pytest.raises(ValueError, match="does not divide"):
        Sweep(width=(30,))
    with pytest.raises(ValueError, match="1 or more"):
        Sweep(length=(0,))
