from __future__ import annotations

import gc

import pytest

from formers.machine.garbage import no_garbage


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
