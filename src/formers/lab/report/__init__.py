"""The report of a study: one summary of its rows, shown as an HTML page, in the terminal, and as data.

`summarize` computes every number once (`summary`, with `confidence_interval`, `costs`, `pareto`, `learning_curve`, `slices`);
`headline`, `matching` and `ranking` put them into words and cells; `charts/` draws them; `html`, `terminal`, `markdown`,
`csv_text` and `json_file` are the forms. `study_files` and `stored_results` know the folder of a study.
"""

from formers.lab.report.csv_text import to_csv
from formers.lab.report.html import render_html, write_html
from formers.lab.report.json_file import dump, from_json, load, to_json
from formers.lab.report.markdown import to_markdown
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
