"""The ranking in LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab.report.latex import latex_text, to_latex
from formers.lab.report.markdown import to_markdown
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def test_a_row_for_every_arm_and_nothing_that_latex_would_read_as_markup(study: Study) -> None:
    text = to_latex(study(3))
    assert text.count(r" \\") == 1 + 7 + 1  # headings, arms, the reference
    assert r"\begin{tabular}{rlrr" in text
    assert r"1 & metric & 1.622 $\pm$ 0.032 & $\approx$ $-$0.010 $\pm$ 0.014" in text
    assert latex_text("a_b & 50 % {x} ~ \\^") == (
        r"a\_b \& 50 \% \{x\} \textasciitilde{} \textbackslash{}\textasciicircum{}"
    )


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_no_name_leaves_the_line_that_it_is_in(study: Study, line_break: str) -> None:
    """Nor does the worst of a name that is told in a comment, or the title; that goes for Markdown's rows, too."""
    plain = study(2)
    name = f"x{line_break}\\input{{x}}"
    rows = [replace(row, arm=name, steps=2 * row.steps) if row.arm == "metric" else row for row in plain.rows]
    hostile = replace(plain, title=f"t{line_break}\\input{{x}}", rows=tuple(rows))
    for form in (to_latex, to_markdown):
        lines, expected = form(hostile).splitlines(), form(plain).splitlines()
        assert len(lines) == len(expected)
        assert [line[:1] for line in lines if line[:1] in "%|\\"] == [
            line[:1] for line in expected if line[:1] in "%|\\"
        ]
    assert any(line.startswith("%") and "\\input{x}" in line for line in to_latex(hostile).splitlines()[1:])
    assert not any(line.startswith("\\input") for line in to_latex(hostile).splitlines())


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.slow
def test_latex_takes_it(study: Study, tmp_path: Path) -> None:
    hostile = replace(study(2), title="50 % & $x$")
    body = to_latex(hostile)
    (tmp_path / "t.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}" + "\n" + body + r"\end{document}"
    )
    done = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-500:]
