from __future__ import annotations

import signal

import pytest

from formers.lab.train.stop import Stop, catch_signals


def test_a_signal_asks_and_a_second_one_insists() -> None:
    with catch_signals() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with catch_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_not_wanted_takes_no_request_back() -> None:
    stop = Stop()
    stop.request_if(False)
    assert not stop.requested
    stop.request_if(True)
    stop.request_if(True)
    stop.request_if(False)
    assert stop.requested


def test_a_program_can_ask_too() -> None:
    stop = Stop()
    stop.request()
    assert stop.requested
