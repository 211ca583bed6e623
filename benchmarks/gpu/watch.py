"""A case in a process of its own, watched: an arm that hangs or dies is left out, and the case goes on behind it."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import Row

ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 120
"""For imports, and for what is made between arms."""
TRIES = 4
"""How often a case is started, at most."""


@dataclass
class Watched:
    """What a case gave: rows, what went wrong, and seconds."""

    rows: list[Row] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    seconds: float = 0.0


def watch(command: list[str], *, seconds_an_arm: float, until: float) -> Watched:
    """Return the rows that a command prints, started again behind an arm at which it hung or died.

    Args:
        command: prints lines of JSON: ["start", arm], ["end", arm, result], ["failed", arm, why],
            ["row", row]. It takes --known, what is known of arms, as JSON.
        seconds_an_arm: an arm without a line for so long is given up, and the process killed.
        until: it is killed then as well, by `time.monotonic`.
    """
    found, known, start = Watched(), dict[str, Any](), time.monotonic()
    for _ in range(TRIES):
        lost = _run([*command, "--known", json.dumps(known)], found, known, seconds_an_arm, until)
        if lost is None or time.monotonic() >= until:
            break
        known[lost] = None
    found.rows = list({(row.case, row.setting): row for row in found.rows}.values())  # a second run says them again
    found.seconds = time.monotonic() - start
    return found


def _run(command: list[str], found: Watched, known: dict[str, Any], seconds_an_arm: float, until: float) -> str | None:
    """Run once, add to what was found; return the arm at which it was lost, None if it came to its end."""
    if time.monotonic() >= until:
        found.trouble.append("no time was left")
        return None
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    readers = [
        threading.Thread(target=_read, args=(process.stdout, lines.put), daemon=True),
        threading.Thread(target=_read, args=(process.stderr, errors.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    arm = ""
    while True:
        patience = seconds_an_arm if arm else SECONDS_TO_START
        try:
            line = lines.get(timeout=max(0.1, min(patience, until - time.monotonic())))
        except queue.Empty:
            process.kill()
            process.wait()
            late = "time was up" if time.monotonic() >= until else f"no answer for {patience:.0f} s"
            found.trouble.append(f"{arm or 'the start'}: {late}")
            return arm or None
        if line is None:
            break
        arm = _take(line, found, known, arm)
    if process.wait() == 0:
        return None
    tail = " ".join("".join(error for error in errors if error).split()[-40:])
    found.trouble.append(f"{arm or 'the start'}: ended with code {process.returncode}: {tail}")
    return arm or None


def _take(line: str, found: Watched, known: dict[str, Any], arm: str) -> str:
    """Take a line in; return the arm that is running after it."""
    try:
        kind, *words = json.loads(line)
    except (json.JSONDecodeError, ValueError):
        return arm
    if kind == "row":
        found.rows.append(Row(**json.loads(words[0])))
    elif kind == "failed":
        found.trouble.append(": ".join(words))
    elif kind == "end":
        known[words[0]] = json.loads(words[1])
        return ""
    return words[0] if kind == "start" else arm


def _read(stream, put) -> None:  # type: ignore[no-untyped-def]
    for line in stream:
        put(line)
    put(None)
