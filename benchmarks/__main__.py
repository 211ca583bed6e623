"""Every benchmark, one after the other, then the page: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHARED = {"__main__", "harness", "report"}


def main() -> None:
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SHARED)
    for name in [*names, "report"]:  # each in a process of its own, so that none inherits another's memory
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
