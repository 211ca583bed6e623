"""Libraries that take seconds to load, announced while they do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from formers.machine.garbage import lasting_imports


def load(libraries: Sequence[str]) -> None:
    """Import the libraries; in a terminal, standard error shows which one is being loaded, and is clean afterwards."""
    for name in libraries:
        if name in sys.modules:
            continue
        text = f"loading {name.partition('.')[0]} …"
        shown = sys.stderr.isatty()
        if shown:
            _write(text)
        try:
            with lasting_imports():
                import_module(name)
        finally:
            if shown:
                _write(f"\r{' ' * len(text)}\r")


def _write(text: str) -> None:
    """Write onto the line of the terminal that there is."""
    sys.stderr.write(text)
    sys.stderr.flush()
