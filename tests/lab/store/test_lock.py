from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from formers.lab.store.lock import FolderInUse, lock_folder

HOLDS = """
import sys
from pathlib import Path
from formers.lab.store.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("holds", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLDS, str(tmp_path / "study")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holds\n"
        with pytest.raises(FolderInUse, match=f"in use by process {other.pid} on "), lock_folder(tmp_path / "study"):
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with lock_folder(tmp_path / "study"):
            pass


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("mine")
    with pytest.raises(NotADirectoryError, match="study is a file"), lock_folder(tmp_path / "study"):
        pass
    assert (tmp_path / "study").read_text() == "mine"
