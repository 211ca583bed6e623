"""Extras are those of the package, and what they lack is named."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from formers.machine import extras as module
from formers.machine.extras import extras, missing

ROOT = Path(__file__).parents[2]


def test_extras_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    metadata = ["torch>=2.11"]
    for name, needs in declared.items():
        metadata += [f'{need}{" and" if ";" in need else " ;"} extra == "{name}"' for need in needs]
    monkeypatch.setattr(module, "requires", lambda name: metadata)
    assert {name: [need.name for need in needs] for name, needs in extras().items()} == {
        name: [Requirement(need).name for need in needs] for name, needs in declared.items()
    }


def test_what_another_system_needs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = ['a>=1; sys_platform == "nowhere" and extra == "gpu"', 'b>=1; extra == "gpu"']
    monkeypatch.setattr(module, "requires", lambda name: metadata)
    assert [need.name for need in extras()["gpu"]] == ["b"]


def test_nothing_is_missing_here() -> None:
    assert missing(extras()["lab"]) == []


def test_what_is_missing_or_old_is_named() -> None:
    lacking = missing([Requirement("no-such-package>=1"), Requirement("torch>=999"), Requirement("torch>=1")])
    assert lacking[0] == "no-such-package"
    assert lacking[1].startswith("torch>=999 (installed: ")
    assert len(lacking) == 2
