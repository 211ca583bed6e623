"""Rooms above ops use what it exports."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import formers

HOUSE = Path(formers.__file__).parent


def imports():
    """(file, module, name) for everything that is imported from inside ops by files outside it."""
    for path in sorted(HOUSE.rglob("*.py")):
        if HOUSE / "ops" not in path.parents:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("formers.ops"):
                    yield from ((path.name, node.module, alias.name) for alias in node.names)


def test_other_rooms_import_exported_names_only():
    found = list(imports())
    assert found
    assert [one for one in found if one[2] not in getattr(import_module(one[1]), "__all__", ())] == []
