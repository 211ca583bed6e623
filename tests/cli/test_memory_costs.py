"""`formers show` of a memory: its size, how far it reaches, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]


def numbers(text: str, pattern: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, text
    return [float(group.replace(",", "")) for group in found.groups()]


def test_a_memory_shows_its_size_and_reach(command: Run) -> None:
    out = command("show", "recurrent(length=64)").output
    [mebibytes, filled] = numbers(out, r"size: ([\d.,]+) MiB a sequence in evaluation, after ([\d,]+) tokens")
    assert filled == 64
    assert abs(mebibytes - 6 * 64 * 3 * 256 * 4 / 2**20) < 0.01  # inputs, keys and values
    assert numbers(out, r"reach: ([\d,]+) tokens") == [384]
    [times] = numbers(out, r"([\d.]+) times those without")
    assert 1.1 < times < 1.5


def test_pages_of_memories_have_costs(command: Run) -> None:
    out = command("show", "compressive").output
    assert numbers(out, r"reach: ([\d,]+) tokens") == [(256 + 3 * 256) * 6]
    assert "\n  by = " in out
    assert "without end" in command("show", "none").output
    assert "Costs" not in command("show", "linear").output
