"""The files that a user's file imports from its own folder, found without running any."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path


def files_beside(path: Path) -> list[Path]:
    """Return the Python files in a file's folder, which is on `sys.path`, that it imports, and those that they import.

    Imports are read from the text, within functions too. What is imported by a name that is only known when the file
    runs, as by `importlib.import_module`, is not found.
    """
    found, waiting = {path}, [path]
    while waiting:
        new = set(_imported(waiting.pop(), path.parent)) - found
        found |= new
        waiting += new
    return sorted(found - {path})


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, or folders in it, that one of its files imports itself."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # whoever runs the file says so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(folder, alias.name.split("."), top=folder)
        elif isinstance(node, ast.ImportFrom):
            base = folder if not node.level else [file, *file.parents][node.level]
            module = node.module.split(".") if node.module else []
            for alias in node.names:  # a name may be a module of a package
                yield from _files_of(base, [*module, alias.name], top=folder)


def _files_of(base: Path, words: Sequence[str], top: Path) -> Iterator[Path]:
    """Yield what importing a.b.c runs: `__init__.py` of the packages, and the module."""
    if base == top and not _is_found_in(top, words[0]):
        return
    for count in range(len(words)):
        place = base.joinpath(*words[: count + 1])
        yield from (file for file in (place / "__init__.py", place.parent / f"{place.name}.py") if file.is_file())


def _is_found_in(folder: Path, name: str) -> bool:
    """Return whether Python finds a module of this name in a folder: one elsewhere may come first."""
    if not (folder / name).is_dir() and not (folder / f"{name}.py").is_file():
        return False
    try:
        spec = find_spec(name)
    except ValueError:  # a module that was made by hand
        return False
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    return any(place is not None and Path(place).resolve().is_relative_to(folder) for place in places)
