"""Parts in a user's file, on the command line: shown, compared, resumed, and trained anew."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "own-parts.md"
SIZES = {"steps": 2, "width": 8, "depth": 1, "heads": 1, "batch": 2, "length": 8, "folder": "study"}
SHORT = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]


@pytest.fixture
def file(here: Path) -> Path:
    """A mixer of the docs, under another name than tests of the page import it by."""
    found = re.search(r"<!-- example: retention.py -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found
    path = here / "kept_memory.py"
    path.write_text(found[1].replace("class Retention(", "class KeptMemory("), encoding="utf-8")
    return path


def test_every_command_knows_it(file: Path, command: Callable[..., Any], here: Path) -> None:
    shown = command("show", "kept_memory", "--parts", file)
    assert "the past fades at a fixed rate" in shown.output
    assert "kept_memory" in command("list", "mixer", "--parts", file).output
    study = ["ablate", "shakespeare(path='words.txt')", "--vary", "mixer=identity,kept_memory(reach=2)"]
    done = command(*study, *SHORT, "--parts", file)
    assert done.exit_code == 0, done.output
    assert f"parts:\n- {file}" in (here / "study" / "study.yaml").read_text()
    again = command("ablate", "study/study.yaml")
    assert "2 steps" not in again.output
    file.write_text(file.read_text(encoding="utf-8") + "\n# another rate\n", encoding="utf-8")
    assert "kept_memory(reach=2.0): 2 steps" in command("ablate", "study/study.yaml").output


def test_a_file_that_is_not_there(command: Callable[..., Any]) -> None:
    done = command("show", "softmax", "--parts", "nowhere.py")
    assert done.exit_code == 2
    assert "there is no file of parts at" in done.output
