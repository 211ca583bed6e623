"""Pretrained models as commands are given them."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from formers.cli.pretrained import read_model


def test_a_name_that_neither_the_disk_nor_the_hub_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> Any:
        raise OSError("We couldn't connect.\nCheck your internet connection.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
    with pytest.raises(FileNotFoundError, match="there is no folder my-modle, and no model of that name") as caught:
        read_model("my-modle", None)
    assert "give the path of a folder" in str(caught.value)


def test_a_path_that_is_not_there_is_not_asked_of_the_hub() -> None:
    with pytest.raises(ValueError, match=r"there is no folder \./nowhere"):
        read_model("./nowhere", None)
