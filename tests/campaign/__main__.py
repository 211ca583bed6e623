"""Run the campaign: `PYTHONPATH=tests python -m campaign`, or `make campaign`.

    python -m campaign                          12,000 cases, then a kill at every file operation and 100 at random
    python -m campaign --cases 500 --kills 2 --operations 2   a short one
    python -m campaign --way 'part texts'       one way in
    python -m campaign --way 'part texts' --seed 7   one case, in this process, with its traceback
    python -m campaign --minutes 20             as much of it as fits, cases first
    python -m campaign --write                  puts the tables into docs/reliability.md

Ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
import time
import traceback
from pathlib import Path

from campaign.fuzz import fuzz, planned_cases, shown, until, write_log
from campaign.killer import kill_everywhere
from campaign.page import write_page
from campaign.planted import check_instrument
from campaign.stand import make_stand
from campaign.verdict import FAULTS, Outcome, judge
from campaign.ways import case_of, enter_case


def main() -> None:
    """Run what the command line asks for."""
    asked = _asked()
    with tempfile.TemporaryDirectory(prefix="formers-campaign-") as name:
        tempfile.tempdir = name
        (Path(name) / "stand").mkdir()
        make_stand(Path(name) / "stand")
        sys.exit(_one(asked) if asked.seed is not None else _all(asked, Path(name)))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="campaign", description="Malformed input through every way in, and kills.")
    parser.add_argument("--cases", type=int, default=12_000, help="how many, over all ways in")
    parser.add_argument("--kills", type=int, default=100, help="kills at random moments")
    parser.add_argument("--operations", type=int, help="kills at so many file operations; at each one without it")
    parser.add_argument("--way", default="", help="only ways whose name has this in it")
    parser.add_argument("--seed", type=int, help="one case of the way, in this process")
    parser.add_argument("--first-seed", type=int, default=0, help="the first seed of every way")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after so many")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--log", type=Path, help="write every outcome into this file")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/reliability.md")
    return parser.parse_args()


def _one(asked: argparse.Namespace) -> int:
    """Try one case in this process, and show it with its traceback."""
    case = case_of(asked.way, asked.seed)
    print(repr(case)[:20_000])
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            enter_case(asked.way, asked.seed, Path(folder))
        except BaseException as error:
            traceback.print_exc()
            print(*judge(error))
            return int(judge(error)[0] in FAULTS)
    print("read")
    return 0


def _all(asked: argparse.Namespace, folder: Path) -> int:
    """Run the campaign, and return its exit code."""

    def told(outcome: Outcome) -> None:
        if outcome.verdict in FAULTS:
            print(f"{outcome.way} {outcome.seed} {shown(outcome)}", flush=True)

    check_instrument()
    began = time.monotonic()
    end = began + 60 * asked.minutes
    cases = planned_cases(asked.cases, asked.first_seed, asked.way) if asked.cases else []
    outcomes = fuzz(until(end, cases), asked.workers, told)
    fuzzed = time.monotonic() - began
    kills, left = kill_everywhere(folder / "kills", asked.kills, asked.first_seed, asked.operations, end)
    missing = [f"{len(cases) - len(outcomes):,} of {len(cases):,} cases"] if len(outcomes) < len(cases) else []
    left_out = [*missing, *filter(None, [left])]
    print(outcomes.table())
    print(f"{fuzzed:.0f} s; {len(kills)} kills, {sum(bool(kill.problem) for kill in kills)} with a difference")
    if left_out:
        print("cut short: without", ", ".join(left_out))
    for kill in kills:
        if kill.problem:
            print(kill)
    if asked.log:
        write_log(asked.log, outcomes)
    if asked.write:
        write_page(outcomes, fuzzed, kills, time.monotonic() - began - fuzzed, asked.first_seed, left_out)
    return int(bool(outcomes.faults) or any(kill.problem for kill in kills))


if __name__ == "__main__":
    main()
