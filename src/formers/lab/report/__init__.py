"""The report of a study: one summary of its rows, shown as an HTML page, in the terminal, and as data."""

from formers.lab.report.export import dump, from_json, load, to_csv, to_json, to_markdown
from formers.lab.report.html import render_html, write_html
from formers.lab.report.terminal import terminal_table

__all__ = [
    "dump",
    "from_json",
    "load",
    "render_html",
    "terminal_table",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_html",
]
