"""What swaps cost as a picture, whatever could not be measured."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from formers.adapt.report.swap_results import SwapResults
from formers.adapt.swap_costs import Swap
from formers.cli import adapt, swap_image, swap_tables
from formers.cli.swap_image import save_swaps

RISES = [0.5, 0.0, -0.1, math.inf, math.nan]


def swaps(first: float, second: float, own: float = 2.0) -> list[Swap]:
    """Two mixers in two layers, each with these rises; and both layers at once, which nobody could."""
    alone = [
        Swap(mixer, (layer,), own + rise, "" if math.isfinite(rise) else "out of memory")
        for mixer, (layer, rise) in product(("window(4)", "pool"), enumerate((first, second)))
    ]
    return [Swap("", (), own), Swap("pool", (0, 1), math.inf, "out of memory"), *alone]


@pytest.mark.parametrize("second", RISES)
@pytest.mark.parametrize("first", RISES)
def test_a_picture_is_drawn_of_what_was_measured(tmp_path: Path, first: float, second: float) -> None:
    save_swaps(swaps(first, second), tmp_path / "swaps.png")
    with Image.open(tmp_path / "swaps.png") as picture:
        counts = {colour[:3]: count for count, colour in picture.convert("RGBA").getcolors(1 << 20) or []}
    is_whole = math.isfinite(first + second)
    assert (counts.get((191, 191, 191), 0) > 1000) == (not is_whole), "grey where nothing was measured, beside letters"


def test_results_are_kept_where_a_picture_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise ValueError("no picture")

    monkeypatch.setattr(swap_image, "save_swaps", fail)
    results = SwapResults(
        model="tiny", text="words.txt", rows=1, row=8, layers=2, names={"": "own"}, swaps=tuple(swaps(0.5, math.inf))
    )
    monkeypatch.setattr(swap_tables, "say_swaps", lambda results: None)
    with pytest.raises(ValueError, match="no picture"):
        adapt._show(results, tmp_path)
    assert len(json.loads((tmp_path / "swaps.json").read_text())["swaps"]) == 6
