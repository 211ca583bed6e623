"""The house is what CONTRIBUTING.md says: rooms that import in one direction, files and names that a reader can
keep."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
HOUSE = SRC / "formers"
FILES = sorted(HOUSE.rglob("*.py"))
MOST_LINES = 300

sys.path.insert(0, str(ROOT / "docs"))
MAY_IMPORT: dict[str, tuple[str, ...]] = import_module("house").MAY_IMPORT


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imported(path: Path, *, late: bool) -> Iterator[str]:
    """The modules of the house that a file imports: when it is loaded, or (`late`) inside its functions, too."""
    nodes = ast.walk(tree(path)) if late else (n for top in tree(path).body for n in loaded(top))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("formers"):
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)


def loaded(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is loaded; what only a type checker reads counts as well."""
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        for child in ast.iter_child_nodes(node):
            yield from loaded(child)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_rooms_import_in_one_direction(name: str) -> None:
    wrong = [
        f"{module_of(path)} imports {module}"
        for path in FILES
        if room(module_of(path)) == name
        for module in imported(path, late=True)
        if room(module) not in ("", name, *MAY_IMPORT[name])
    ]
    assert wrong == []


def test_every_room_is_known() -> None:
    rooms = {room(module) for module in MODULES} - {"", "__main__"}
    assert rooms == MAY_IMPORT.keys()


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: set(imported(path, late=False)) - {module} for module, path in MODULES.items()}
    assert [" → ".join(circle) for circle in circles(graph)] == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One circle for each module that a search comes back to."""
    found, done = [], set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_files_can_be_read_in_one_sitting() -> None:
    sizes = {str(path.relative_to(SRC)): path.read_text().count("\n") for path in FILES}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


WRITES_OVER = {
    "machine/memory.py": "a counter of the kernel",
    "models/pretrained.py": "a card that was not there, beside weights",
    "retrieval/build.py": "a file that is made empty",
    "tasks/characters.py": "beside a model, in a folder that is put in its place whole",
    "tasks/control/control.py": "as characters",
    "tasks/control/recordings.py": "a part, which is moved when it is whole",
    "tasks/vocabulary.py": "as characters",
}
"""Files that write a file in its place, and why nothing is lost where the disk is full, or the process dies, then."""


def test_results_are_whole_at_every_moment() -> None:
    """`write_atomically` leaves what was there until the new text is on the disk; `write_text` empties it first."""
    writing = {
        str(path.relative_to(HOUSE))
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in ("write_text", "write_bytes")
    }
    assert writing == WRITES_OVER.keys()


def test_the_lab_has_few_doors() -> None:
    entries = [entry.name for entry in (HOUSE / "lab").iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= 10, entries


def test_a_class_name_stands_for_one_thing() -> None:
    names = Counter(
        node.name.lstrip("_") for path in FILES for node in tree(path).body if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == set()


def documented(node: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            yield child
            yield from documented(child)


def test_public_functions_are_documented() -> None:
    bare = [
        f"{path.relative_to(SRC)}:{node.lineno} {node.name}"
        for path in FILES
        for node in tree(path).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if not node.name.startswith("_") and not ast.get_docstring(node) and not is_module_class(node)
    ]
    assert bare == []


def is_module_class(node: ast.AST) -> bool:
    """Whether a class is the module that a part builds: its part, in the same file, has the docstring."""
    return isinstance(node, ast.ClassDef) and bool(node.bases)


def test_docstrings_say_what_is_done() -> None:
    riddles = [
        f"{path.relative_to(SRC)}:{node.lineno} {text.splitlines()[0]}"
        for path in FILES
        for node in documented(tree(path))
        if isinstance(node, ast.FunctionDef)
        if (text := ast.get_docstring(node) or "")
        if re.match(r"(What|Whether|Where|How|Who|Which|That|Says)\b", text)
    ]
    assert riddles == []


def test_every_room_has_a_docstring() -> None:
    bare = [module for module, path in MODULES.items() if not ast.get_docstring(tree(path))]
    assert bare == []


def test_warnings_point_to_the_callers_line() -> None:
    """`warn_caller` finds the line outside the library; a number of frames is right for one way in at most."""
    calls = [module for module, path in MODULES.items() if "warnings.warn(" in path.read_text()]
    assert calls == ["formers.part.warning"]


def test_no_test_is_parametrised_by_a_set() -> None:
    """The order of a set changes with every process: workers that share the tests would collect different ones."""
    unordered = [
        f"{path.relative_to(ROOT)}:{value.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for call in ast.walk(tree(path))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "parametrize"
        for value in ast.walk(call)
        if isinstance(value, (ast.Set, ast.SetComp)) or (isinstance(value, ast.Call) and is_bare_set(value))
    ]
    assert unordered == []


def is_bare_set(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("set", "frozenset")


@pytest.mark.slow
def test_tests_are_the_same_in_every_process() -> None:
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
    named = [
        subprocess.run(
            [*collect, "--import-mode=importlib"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rpartition("\n\n")[0]
        for seed in ("1", "3")
    ]
    assert named[0].count("::") > 1000
    assert named[0] == named[1]
