from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from formers.machine.files import overwrite, remove, write_atomically


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomically(tmp_path / "a.txt", "old")

    def fail(source: object, target: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half \ud800")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_symbolic_link_is_replaced_or_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    target = write_atomically(tmp_path / "precious", "mine")
    (tmp_path / "a.txt").symlink_to(target)
    (tmp_path / f".a.txt.{os.getpid()}.part").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        overwrite(tmp_path / "a.txt", "new")
    write_atomically(tmp_path / "a.txt", "new", flush=True)
    assert not (tmp_path / "a.txt").is_symlink()
    overwrite(tmp_path / "a.txt", "now")
    (tmp_path / "folder").symlink_to(tmp_path)
    remove(tmp_path / "folder")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"precious": "mine", "a.txt": "now"}


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    for name in (f".a.txt.{child.pid}.part", f".a.txt.{os.getppid()}.part", f".b.txt.{child.pid}.part"):
        (tmp_path / name).touch()
    write_atomically(tmp_path / "a.txt", "new")
    kept = {f".a.txt.{os.getppid()}.part", f".b.txt.{child.pid}.part", "a.txt"}  # another writes; another's file
    assert {each.name for each in tmp_path.iterdir()} == kept
