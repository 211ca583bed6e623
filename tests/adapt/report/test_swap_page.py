"""The page of swaps, drawn from results that were stored."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from formers.adapt.report.swap_page import render_swap_page
from formers.adapt.report.swap_results import PlanResult, SwapResults, read_swap_results, write_swap_results
from formers.adapt.swap_costs import Swap
from formers.adapt.swap_speed import SwapSpeed

W, T = "sparse(pattern=window(4))", "linear(feature=taylor2())"
PLAN = PlanResult(
    budget="1MB at 8k",
    length=8192,
    mixers=("softmax()", W),
    state_bytes=1 << 20,
    expected=0.05,
    tokens=64,
    own=8.0,
    planned=9.0,
)
RESULTS = SwapResults(
    model="tiny",
    text="words.txt",
    rows=2,
    row=32,
    layers=2,
    names={"": "its own", W: "window(4)", T: "linear(feature=taylor2)"},
    swaps=(
        Swap("", (), 2.0),
        *(Swap(W, layers, 2.1) for layers in ((0, 1), (0,), (1,))),
        Swap(T, (0, 1), math.inf, "out of memory"),
        Swap(T, (0,), 2.5),
        Swap(T, (1,), math.inf, "the loss is nan"),
    ),
    speeds=(
        SwapSpeed("", 64, 1.0, 0.1, 4096, 1 << 20),
        SwapSpeed(W, 64, 0.5, 0.05, 1024, 1 << 20),
        SwapSpeed("", 128, failure="out of memory"),
        SwapSpeed(W, 128, 1.0, 0.05, 1024, 1 << 20),
    ),
    states={"": {1024: 4096, 8192: 32768}, W: {1024: 512, 8192: 512}, T: {1024: None, 8192: None}},
    plan=PLAN,
    environment={"torch": "2"},
    command="formers adapt tiny",
)


def test_the_page_comes_from_the_file_alone(tmp_path: Path) -> None:
    read = read_swap_results(write_swap_results(RESULTS, tmp_path / "swaps.json"))
    assert read == RESULTS
    page = render_swap_page(read)
    assert page == render_swap_page(RESULTS)
    for words in ("window(4)", "out of memory", "1.105", "4 KiB", "4.00 ×", "+12.5 %", "layer 1, window(4): +0.1000"):
        assert words in page.replace("<wbr>", ""), words
    assert "<svg" in page


def test_pages_without_times_or_plan(tmp_path: Path) -> None:
    page = render_swap_page(replace(RESULTS, speeds=(), plan=None, swaps=RESULTS.swaps[:2]))
    assert "Measured</h2>" not in page
    assert "Plan for" not in page
    assert "Each layer alone" not in page


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"swaps": 3}'])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "swaps.json").write_text(content)
    with pytest.raises(ValueError, match="holds no results of formers adapt"):
        read_swap_results(tmp_path / "swaps.json")
