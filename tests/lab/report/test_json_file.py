"""Results as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab.report import dump, from_json, load, to_json
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def with_row(results: Results, **changes: object) -> Results:
    """`results` with its first row changed."""
    return replace(results, rows=(replace(results.rows[0], **changes), *results.rows[1:]))


def test_json_reads_back_exactly(study: Study, tmp_path: Path) -> None:
    results = with_row(study(3), samples=("\u2028 \ud800 </script> ü",), state_bytes_per_token=None, peak_bytes=None)
    assert load(dump(results, tmp_path / "deep" / "study.json")) == results


def test_json_is_strict_and_keeps_what_is_not_finite(study: Study) -> None:
    results = with_row(
        study(1), metrics={"val_loss": math.nan, "a": math.inf, "b": -math.inf}, flops_per_token=math.nan
    )
    text = to_json(results)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = from_json(text)
    assert repr(again) == repr(results)
    assert to_json(again) == text
