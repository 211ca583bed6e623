"""A tiny model, a text, and a datastore of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from formers.models import CausalLM, TransformerConfig
from formers.retrieval import Datastore, Reading, build_datastore

torch.set_num_threads(1)
READING = Reading(length=16)
CONFIG = TransformerConfig(vocab_size=11, width=24, depth=2, heads=3, context_length=32, initializer_range=0.3)


def tiny_model() -> CausalLM:
    torch.manual_seed(0)
    return CausalLM(CONFIG).eval()


@pytest.fixture
def model() -> CausalLM:
    return tiny_model()


@pytest.fixture
def ids() -> Tensor:
    return repeated_text()


def repeated_text() -> Tensor:
    """A text with repetitions, so that neighbours have something to say."""
    torch.manual_seed(1)
    words = torch.randint(11, (6, 7))
    return words[torch.randint(6, (100,))].flatten()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a datastore, built once: nobody writes to it."""
    folder = tmp_path_factory.mktemp("built") / "store"
    build_datastore(tiny_model(), repeated_text(), folder, READING, dtype="float32", block=100)
    return folder


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Datastore:
    """The datastore of the model and the text, in a folder of its own."""
    return Datastore.open(shutil.copytree(built, tmp_path / "store"))
