"""CSV for spreadsheets: numbers stay numbers, and no text becomes a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from formers.plot.visible_text import visible

_FORMULA = tuple("=+-@\t＝＋－＠")
"""Characters at the beginning of a cell that spreadsheets read as a formula; the last four are their wide forms."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a line for the header, and one a row.

    Control characters in texts are drawn, and a text that begins as a formula does gets an apostrophe before it, which
    spreadsheets take for the mark of a text.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([_cell(value) if isinstance(value, str) else value for value in row])
    return out.getvalue()


def _cell(text: str) -> str:
    text = visible(text)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
