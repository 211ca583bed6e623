"""A small copy of MNIST in the published format: squares at ten places, one for each digit."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from torch import Tensor


def idx(values: Tensor) -> bytes:
    """Return bytes as an IDX file."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


def squares(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images, (N, 28, 28), and labels: digit d is a square at the d-th of ten places, of some grey value."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(count, dtype=torch.uint8) % 10
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    greys = torch.randint(100, 256, (count,), generator=stream).tolist()
    for image, label, grey in zip(images, labels.tolist(), greys, strict=True):
        top, left = 8 + 14 * (label // 5), 5 * (label % 5)
        image[top - 4 : top + 4, left : left + 4] = grey
    return images, labels


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of a copy: 200 images to train on, 40 to test."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for part, count in (("train", 200), ("t10k", 40)):
        images, labels = squares(count, seed=count)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels.idx1-ubyte").write_bytes(idx(labels))
    return folder
