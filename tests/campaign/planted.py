"""Faults that are planted, to see that the campaign sees them."""

from __future__ import annotations

import time
from pathlib import Path

from campaign.pool import Limits, run_cases
from campaign.verdict import Nonsense, Refused, Verdict

_LIMITS = Limits(seconds=0.5, patience=3.0, bytes=1 << 30)
_SEEN_AS = {
    "nothing": Verdict.READ,
    "a refusal": Verdict.REFUSED,
    "an error of Python": Verdict.TRACEBACK,
    "an error without words": Verdict.TRACEBACK,
    "an exit": Verdict.TRACEBACK,
    "memory without end": Verdict.TRACEBACK,
    "a dead process": Verdict.TRACEBACK,
    "a loop without end": Verdict.HANG,
    "waiting without end": Verdict.HANG,
    "a lie": Verdict.NONSENSE,
}


def check_instrument() -> None:
    """Raise AssertionError unless every planted fault gets its verdict."""
    found = {outcome.way: outcome.verdict for outcome in run_cases([(n, 0) for n in _SEEN_AS], _enter, 1, _LIMITS)}
    assert found == _SEEN_AS, found


def _enter(name: str, seed: int, folder: Path) -> None:
    """Do what a name says."""
    import os

    from formers.mixers import Mixer

    match name:
        case "a refusal":
            Mixer.parse("softmaxx")
        case "an error of Python":
            Mixer.parse(None)  # type: ignore[arg-type]
        case "an error without words":
            raise ValueError
        case "an exit":
            raise SystemExit(0)
        case "memory without end":
            bytearray(1 << 40)
        case "a dead process":
            os.abort()
        case "a loop without end":
            while True:
                pass
        case "waiting without end":
            time.sleep(1e6)
        case "a lie":
            raise Nonsense("1 is 2")
        case "nothing":
            return
    raise Refused
