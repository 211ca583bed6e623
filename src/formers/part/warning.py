"""Warnings that point to the line of the one who reads them."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import torch

_INSIDE = tuple(str(Path(file).parent) + os.sep for file in (str(Path(__file__).parent), str(torch.__file__)))
"""Folders whose files are not the reader's: those of this library, and of torch, whose decorators stand between."""


def warn_caller(message: str) -> None:
    """Give a UserWarning that points to the line outside this library from which it was called, however deep."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
