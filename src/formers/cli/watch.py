"""A report that is written again while its study runs."""

from __future__ import annotations

import time
from pathlib import Path

from formers.cli.say import say

SECONDS = 5
"""Between two looks at the study, and between two reloads in the browser."""


def watch(folder: Path, page: Path) -> None:
    """Write the page of a study whenever a row is added, until no process works on it any more.

    The page reloads itself in the browser, but for the last one. Before the first row there is none.
    """
    from formers.lab.report import write_html
    from formers.lab.report.stored_results import stored_results
    from formers.lab.store.lock import is_in_use

    rows = -1
    while is_in_use(folder):
        try:
            results = stored_results(folder)
        except FileNotFoundError:
            results = None
        found = len(results.rows) if results else 0
        if found != rows:
            rows = found
            counted = "1 run" if rows == 1 else f"{rows} runs"
            say(f"{counted} so far; {page.resolve() if rows else 'the page follows the first of them'}")
            if results:
                write_html(results, page, reload_seconds=SECONDS)
        time.sleep(SECONDS)
