"""The report of a study: one summary of its rows, shown as an HTML page, in the terminal, and as data.

| step | where |
|---|---|
| numbers, once | `summarize` → `summary`; `confidence_interval`, `costs`, `learning_curve`, `slices` |
| numbers, words and cells | `lengths` |
| sentences | `headline`; `separation`, `enough`, `arm_sentences`, `matching`, `arm_names` |
| cells | `ranking`, `estimate_text`, `page_tables`, `filters` |
| draw | `charts/`, `arm_looks` |
| forms | `html`, `terminal`, `markdown`, `latex`, `csv_text`, `json_file` |
| the folder of a study | `study_results`, `study_files`, `stored_results`, `agreement` |
"""

from formers.lab.report.csv_text import to_csv
from formers.lab.report.html import render_html, write_html
from formers.lab.report.json_file import dump, from_json, load, to_json
from formers.lab.report.latex import to_latex
from formers.lab.report.markdown import to_markdown
from formers.lab.report.terminal import terminal_report, terminal_table

__all__ = [
    "dump",
    "from_json",
    "load",
    "render_html",
    "terminal_report",
    "terminal_table",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "write_html",
]
