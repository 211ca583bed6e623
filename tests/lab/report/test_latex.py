"""The ranking in LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab.report.latex import latex_text, to_latex
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
