"""Write a text of letters that repeat: `python docs/studies/repeats.py repeats.txt`.

Passages of 48 random letters, each six times in a row: a letter is known from that 48 characters back, but in the first
time around. Nothing nearer helps.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

LETTERS, PERIOD, TIMES, PASSAGES = "abcdefghijklmnop", 48, 6, 1_000


def text(seed: int = 0) -> str:
    draw = random.Random(seed)
    return "".join("".join(draw.choices(LETTERS, k=PERIOD)) * TIMES for _ in range(PASSAGES))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
