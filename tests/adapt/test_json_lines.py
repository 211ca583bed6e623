from __future__ import annotations

from pathlib import Path

import pytest

from formers.adapt.json_lines import JsonLines, read_lines


def test_a_line_that_was_cut_off_is_taken_away_without_writing_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "swaps.jsonl"
    first = JsonLines(path, {"of": "this"}, "another model")
    first.add({"layer": 0, "text": "é"})
    first.add({"layer": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"layer": 2, "te')
    monkeypatch.setattr(Path, "write_text", None)  # a full disk
    assert JsonLines(path, {"of": "this"}, "another model").lines == [{"layer": 0, "text": "é"}, {"layer": 1}]
    assert path.read_bytes() == whole
    assert len(read_lines(path)) == 2
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="is damaged; remove it to measure anew"):
        read_lines(path)
