from __future__ import annotations

import pytest

from formers.part.error_line import first_line_of, one_line_of


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (ValueError("\n a: b\nand more"), "a: b", "ValueError: a: b"),
        (ValueError(), "", "ValueError"),
        (KeyError("\n"), "'\\n'", "KeyError: '\\n'"),
        (RuntimeError(" \n "), "", "RuntimeError"),
    ],
)
def test_an_error_in_one_line(error: Exception, first: str, whole: str) -> None:
    assert first_line_of(error) == first
    assert one_line_of(error) == whole
