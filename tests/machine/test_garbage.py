from __future__ import annotations

import gc
import weakref

import pytest

from formers.machine.garbage import lasting_imports, no_garbage, short_searches


class _Cycle:
    """An object that only a search for garbage can find."""

    def __init__(self) -> None:
        self.itself = self


def _fail() -> None:
    with no_garbage():
        assert not gc.isenabled()
        raise ValueError("inside")


def test_the_search_goes_on_afterwards_as_before() -> None:
    with pytest.raises(ValueError, match="inside"):
        _fail()
    assert gc.isenabled()
    gc.disable()
    try:
        with no_garbage():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_imports_are_not_searched_again() -> None:
    before = gc.get_freeze_count()
    try:
        with lasting_imports():
            made = [[] for _ in range(1000)]
        assert gc.get_freeze_count() >= before + len(made)
    finally:
        gc.unfreeze()


def test_garbage_of_before_a_study_is_not_kept_for_good() -> None:
    gone, later = weakref.ref(_Cycle()), _Cycle()
    followed = weakref.ref(later)
    with short_searches():
        assert gc.get_freeze_count()
        del later
    gc.collect()
    assert gone() is None
    assert followed() is None
