"""Parts in Python files of a user's own: files are run once, and their parts are then known by name like any other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from formers.part.annotations import option_hints
from formers.part.error_line import one_line_of
from formers.part.files_beside import files_beside
from formers.part.part import Part

_RUN: dict[str, tuple[str, tuple[type[Part], ...]]] = {}
"""File → the sha256 of the text that was run, that of modules beside it included, and the parts that it defines."""
_BESIDE: dict[str, str] = {}
"""Module beside such a file → the sha256 of its text when the file was run."""


def load_parts(file: str | Path) -> tuple[type[Part], ...]:
    """Run a Python file, and return the parts that it defines: their names are known from then on, in text and JSON.

    The file is run as one given to `python` is, so name only files that you trust; modules beside it can be imported.
    One that was run before is run again only if it was changed since, or a module beside it that it imports.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file that cannot be run, with the line; for one that defines no part; and for a part whose
            name another one of its axis has.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of parts at {path}")
    kinds = kinds_in(path, "file of parts")
    if not kinds:
        raise ValueError(f"{path} defines no part: no subclass of an axis, such as formers.mixers.Mixer")
    return kinds


def kinds_in(path: Path, what: str) -> tuple[type[Part], ...]:
    """Return the parts and tasks that a file defines, which know their file; `what` names such a file in errors."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # as Python does for a script; at the end, so that it hides nothing
    beside = {str(file): _text_hash(file) for file in files_beside(path)}
    code_hash = _joint_hash(path, beside)
    known = _RUN.get(str(path))
    if known is None or known[0] != code_hash:
        _forget_changed(beside)
        _RUN[str(path)] = (code_hash, _run(path, what))
    return _RUN[str(path)][1]


def own_kinds(axis: type[Part]) -> tuple[type[Part], ...]:
    """Return the parts of an axis that come from users' files."""
    return tuple(kind for kind in axis.kinds() if kind.origin)


def own_code(value: Any) -> dict[str, str]:
    """Return file → sha256 of its text, for each user's file that parts in a value come from.

    The text of modules that it imports from its folder counts, too: a part may do another thing when they have changed.
    """
    return {part.origin: _RUN[part.origin][0] for part in _parts_in(value) if part.origin}


def unpickled(origin: str, name: str, options: Mapping[str, Any]) -> Part:
    """Return the part that was pickled; its file is run first, where this process has not done so yet."""
    if origin not in _RUN:
        kinds_in(Path(origin), "file of parts")
    kind = next(kind for kind in _RUN[origin][1] if kind.__name__ == name)
    return kind(**options)


def _text_hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _joint_hash(path: Path, beside: Mapping[str, str]) -> str:
    """Return the sha256 of a file's text; where it imports others from its folder, of all of theirs and their names."""
    if not beside:
        return _text_hash(path)
    named = [(Path(file).relative_to(path.parent).as_posix(), text_hash) for file, text_hash in beside.items()]
    return sha256(json.dumps([_text_hash(path), named]).encode()).hexdigest()


def _forget_changed(beside: Mapping[str, str]) -> None:
    """Let modules be imported anew if any of them has changed since it was: the others may hold what it defined."""
    if any(_BESIDE.get(file, text_hash) != text_hash for file, text_hash in beside.items()):
        for name, module in [*sys.modules.items()]:
            file = getattr(module, "__file__", None)
            if file is not None and str(Path(file).resolve()) in beside:
                del sys.modules[name]
    _BESIDE.update(beside)


def _parts_in(value: Any) -> Iterator[Part]:
    """Yield the parts in a value, those within others too."""
    if isinstance(value, Part):
        yield value
    if isinstance(value, Mapping):
        inner = [*value.values()]
    elif is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name) for field in fields(value)]
    else:
        inner = [*value] if isinstance(value, (list, tuple)) else []
    for item in inner:
        yield from _parts_in(item)


def _run(path: Path, what: str) -> tuple[type[Part], ...]:
    """Return the public parts that a file defines when it is run. Raise ValueError where it cannot be."""
    module = _new_module(path)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses and inspect look their classes' modules up there
    try:
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        module.__spec__.loader.exec_module(module)
        kinds = _public_parts(module)
        for kind in kinds:
            option_hints(kind)
            _refuse_taken_name(kind)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
        raise ValueError(f"cannot run the {what} {_line_of(path, error)}") from error
    for kind in kinds:
        kind.origin = str(path)
    return kinds


def _new_module(path: Path) -> ModuleType:
    """Return an empty module for a file, under the file's name where it is free, so that `import` finds it, too."""
    name = path.stem
    if name in sys.modules:
        free = getattr(sys.modules[name], "__file__", None) == str(path)
    else:
        found = find_spec(name) if name.isidentifier() else None
        free = name.isidentifier() and (found is None or found.origin == str(path))
    if not free:
        name = f"formers_own_{name}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    return module_from_spec(spec)


def _public_parts(module: ModuleType) -> tuple[type[Part], ...]:
    """Return the parts that a module defines, without axes and those whose names begin with `_`."""
    found = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Part)]
    own = [kind for kind in found if kind.__module__ == module.__name__ and not kind.is_axis()]
    return tuple(kind for kind in dict.fromkeys(own) if not kind.__name__.startswith("_"))


def _refuse_taken_name(kind: type[Part]) -> None:
    """Raise ValueError for a part with the name of another one of its axis."""
    for other in () if kind.names_its_file else kind.axis.kinds():
        if other.name() == kind.name() and other.__module__ != kind.__module__:
            raise ValueError(
                f"the {kind.axis.name()} {kind.name()} is there already, in {other.__module__}; give the class "
                f"{kind.__name__} another name"
            )


def _line_of(path: Path, error: BaseException) -> str:
    """Return the line of a file that an error is about, and the error, in one line."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    return f"{place}: {one_line_of(error)}"
