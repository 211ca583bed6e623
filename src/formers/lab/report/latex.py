"""The ranking as a LaTeX table, for a paper."""

from __future__ import annotations

from formers.lab.report.matching import matching_sentences
from formers.lab.report.ranking import ranking
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results
from formers.plot.number_format import NOTHING
from formers.plot.visible_text import visible, visible_line

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "−": r"$-$",
    "→": r"$\to$",
    "“": "``",
    "”": "''",
    "’": "'",
    NOTHING: "--",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}


def to_latex(results: Results) -> str:
    """Return the ranking as a `tabular` of the package booktabs; what was matched between arms is a comment above."""
    summary = summarize(results)
    table = ranking(summary)
    columns = "".join("l" if column.text else "r" for column in table.columns)
    comments = [f"{results.title}; needs \\usepackage{{booktabs}}", matching_sentences(summary)]
    lines = [f"% {visible_line(comment)}" for comment in comments if comment]  # a line break would end the comment
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line([column.title for column in table.columns])]
    lines += [r"\midrule", *(_line(row.cells) for row in table.rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return " & ".join(map(latex_text, cells)) + r" \\"


def latex_text(text: str) -> str:
    """Return a text in which nothing is markup for LaTeX."""
    return "".join(_SIGNS.get(character, character) for character in " ".join(visible(text).split()))
