"""Warnings that point to the line of the one who reads them."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

_BETWEEN = ("formers", "torch", "transformers")
"""Packages whose files are not the reader's: this one, torch, whose decorators stand between, and transformers, whose
`AutoModel…` classes and `Trainer` do."""


def warn_caller(message: str) -> None:
    """Give a UserWarning that points to the line outside this library from which it was called, however deep."""
    files = (sys.modules[name].__file__ for name in _BETWEEN if name in sys.modules)
    inside = tuple(str(Path(file).parent) + os.sep for file in files if file is not None)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
