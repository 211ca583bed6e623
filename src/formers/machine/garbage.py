"""Python's search for garbage, put off while there is none, and kept short afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """Let Python look for no garbage while the block runs: imports make objects by the million, and all of them stay.

    Loading torch and transformers takes a tenth less.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Look for no garbage while the block runs, and never among the objects that live at its end.

    For imports of a command, whose process ends with it: one search through all of torch and transformers takes half a
    second, and Python makes several when it ends.
    """
    with no_garbage():
        yield
        gc.freeze()
