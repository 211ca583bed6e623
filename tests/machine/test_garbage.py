from __future__ import annotations

import gc

import pytest

from formers.machine.garbage import lasting_imports, no_garbage


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
    with lasting_imports():
        made = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= before + len(made)
