"""The tables of docs/reliability.md: what the last campaign found."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from campaign.fuzz import Outcomes
from campaign.killer import Kill
from formers.machine.environment import environment

_PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_MARKS = "<!-- campaign: made by make campaign -->", "<!-- end of campaign -->"
_FACTS = ("formers", "commit", "python", "torch", "transformers", "device")


def write_page(
    outcomes: Outcomes, fuzzed: float, kills: list[Kill], killing: float, seed: int, left_out: list[str]
) -> None:
    """Put the tables of a campaign into the page, between its marks, its faults, and what it was cut short by."""
    parts = [_run(seed, left_out), _fuzzed(outcomes, fuzzed), _killed(kills, killing), *_faults(outcomes, kills)]
    made = "\n\n".join(parts)
    pattern = re.compile(f"({re.escape(_MARKS[0])}\n).*?({re.escape(_MARKS[1])})", re.DOTALL)
    text = pattern.sub(lambda found: f"{found[1]}{made}\n{found[2]}", _PAGE.read_text(encoding="utf-8"))
    _PAGE.write_text(text, encoding="utf-8")


def _run(seed: int, left_out: list[str]) -> str:
    facts = environment("cpu")
    listed = [f"{name} {facts[name]}" for name in _FACTS if name in facts]
    return (
        f"Last run: {datetime.now(UTC):%Y-%m-%d}, first seed {seed}, {'; '.join(listed)}; {platform.system()}, "
        f"{os.cpu_count()} processors." + (f" Cut short: without {', '.join(left_out)}." if left_out else "")
    )


def _minutes(seconds: float) -> str:
    return "a minute" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _fuzzed(outcomes: Outcomes, seconds: float) -> str:
    return f"{len(outcomes):,} malformed cases in {_minutes(seconds)}:\n\n{outcomes.table()}"


def _killed(kills: list[Kill], seconds: float) -> str:
    """Return the table of kills: by the kind of moment, how many there were, and after how many a result differed."""
    lines = ["| killed | kills | different afterwards |", "|---|--:|--:|"]
    kinds = {"before a file operation": "before", "at a random moment": "after"}
    for words, start in kinds.items():
        some = [kill for kill in kills if kill.moment.startswith(start)]
        lines.append(f"| {words} | {sum(k.times for k in some)} | {sum(bool(k.problem) for k in some)} |")
    total = sum(kill.times for kill in kills)
    return f"{total} kills in {_minutes(seconds)}:\n\n" + "\n".join(lines)


def _faults(outcomes: Outcomes, kills: list[Kill]) -> list[str]:
    """Return a list of the faults, each with what makes it again; an empty one where there are none."""
    lines = [f"- `{fault.way}`, seed {fault.seed}: {fault.verdict}" for fault in outcomes.faults]
    lines += [f"- killed {kill.moment}: {kill.problem}" for kill in kills if kill.problem]
    return ["The faults:\n\n" + "\n".join(lines)] if lines else []
