from __future__ import annotations

import os
from pathlib import Path

import pytest

from formers.tasks import Classify
from formers.tasks.sources import stamp


def test_a_stamp_tells_every_change_at_any_depth(tmp_path: Path) -> None:
    assert stamp(tmp_path / "nothing") == stamp(tmp_path) == ()
    file = tmp_path / "a" / "b" / "c.txt"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    seen = [stamp(tmp_path)]
    assert stamp(file) == seen[0]
    file.write_text("longer")
    seen.append(stamp(tmp_path))
    os.utime(file, ns=(0, 0))
    seen.append(stamp(tmp_path))
    (file.parent / "d.txt").touch()
    seen.append(stamp(tmp_path))
    file.unlink()
    seen.append(stamp(tmp_path))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("change", ["edited", "added"])
def test_texts_in_folders_of_labels_are_read_anew_when_one_changes(tmp_path: Path, change: str) -> None:
    for label in ("pos", "neg"):
        folder = tmp_path / "reviews" / label
        folder.mkdir(parents=True)
        for i in range(60):
            (folder / f"{i}.txt").write_text(f"{label} text number {i}")
    task = Classify(path=str(tmp_path))
    before = task.data_hash
    (tmp_path / "reviews" / "pos" / ("3.txt" if change == "edited" else "99.txt")).write_text("quite another text")
    assert task.data_hash != before
