"""Real data where it is at hand, and small data of the same shapes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests find the data they ask for, and no other."""
    monkeypatch.delenv("FORMERS_DATA", raising=False)


@pytest.fixture(scope="session")
def real_home() -> Path:
    """The folder of real data sets: FORMERS_DATA's, or the one beside the repository."""
    home = Path(os.environ.get("FORMERS_DATA", BESIDE))
    if not home.is_dir():
        pytest.skip(f"no real data at {home}; set FORMERS_DATA to a folder of data sets")
    return home


@pytest.fixture
def real(real_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Real data, found through FORMERS_DATA as a user's is."""
    monkeypatch.setenv("FORMERS_DATA", str(real_home))
    return real_home


WORDS = {"neg": ("dull", "awful", "slow"), "pos": ("bright", "lovely", "quick")}


@pytest.fixture
def opinions() -> list[tuple[str, str]]:
    """120 short texts and their labels, each telling its label by one word."""
    return [
        (f"The film number {i} is {word}, and its end is {'long' * (i % 3)} {word}!", label)
        for label, words in WORDS.items()
        for i in range(20)
        for word in words
    ]
