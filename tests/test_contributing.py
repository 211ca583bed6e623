"""The worked example of CONTRIBUTING.md is a real part: it keeps the laws, as it stands on the page."""

import re
import sys
import types
from pathlib import Path

import pytest

from formers.testing import check

PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
    code = re.search(r"<!-- example:.*?-->\n```python\n(.*?)```", PAGE.read_text(), re.S).group(1)
    file = tmp_path / "shift_example.py"
    file.write_text(code)
    module = types.ModuleType("shift_example")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "shift_example", module)
    exec(compile(code, str(file), "exec"), module.__dict__)
    return module


def test_worked_example_keeps_the_laws(example):
    check(example.Shift())
    check(example.Shift(share=0.25))


def test_worked_example_has_documented_options(example):
    assert example.Shift.option_docs()["share"]
    assert repr(example.Shift(share=0.25)) == "shift(share=0.25)"
