"""Pretrained models as commands are given them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from transformers import AutoConfig

from formers.cli.pretrained import read_model


def test_a_name_that_neither_the_disk_nor_the_hub_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise OSError("my-modle is not a valid model identifier.\nIf this is a private repository, …")

    monkeypatch.setattr("formers.machine.hub.hub_trouble", lambda: None)
    monkeypatch.setattr(AutoConfig, "from_pretrained", unknown)
    with pytest.raises(FileNotFoundError, match="there is no folder my-modle, and no model of that name") as caught:
        read_model("my-modle", None)
    assert "not a valid model identifier.); give the path of a folder" in str(caught.value)


@pytest.mark.parametrize("gguf", [None, "weights.gguf"])
def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch, gguf: str | None) -> None:
    monkeypatch.setattr("formers.machine.hub.hub_trouble", lambda: "https://huggingface.co does not answer: …")
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"no model of that name .*https://huggingface.co does not answer"):
        read_model("some/model-that-is-in-no-cache", gguf)
    assert time.monotonic() - begun < 5  # asked six times, it would be half a minute


def test_a_path_that_is_not_there_is_not_asked_of_the_hub() -> None:
    with pytest.raises(ValueError, match=r"there is no folder \./nowhere"):
        read_model("./nowhere", None)
