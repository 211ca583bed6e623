"""A hub that cannot be reached is noticed by one question."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from formers.machine.hub import hub_trouble, only_cached


@pytest.fixture
def answering() -> Iterator[str]:
    """The address of a server on this machine that answers every question with 404."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_hub_that_answers(answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", answering)
    assert hub_trouble() is None


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert str(hub_trouble()).startswith("http://127.0.0.1:9 does not answer: ")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_trouble() == "HF_HUB_OFFLINE is set"


def test_what_is_cached_is_enough_where_there_is_trouble() -> None:
    assert only_cached("no network") == {"local_files_only": True}
    assert only_cached(None) == {}
