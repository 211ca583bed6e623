from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
import torch

from formers.tasks.mnist import files
from formers.tasks.mnist.files import find_digits, read_digits
from formers.tasks.mnist.images import load_images, shrunk


def test_a_copy_packed_or_not(small: Path) -> None:
    images, labels = read_digits(find_digits(str(small)), "train")
    assert images.shape == (200, 28, 28)
    assert images.dtype == torch.uint8
    assert labels[:11].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_the_real_copy(real: Path) -> None:
    images, labels = read_digits(find_digits(None), "test")
    assert images.shape == (10_000, 28, 28)
    assert labels[:4].tolist() == [7, 2, 1, 0]


def test_no_copy(tmp_path: Path, small: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"FORMERS_DATA is not set[.] Get the four files with"):
        find_digits(None)
    with pytest.raises(FileNotFoundError, match="looked at"):
        find_digits(str(tmp_path / "nothing"))
    (small / "t10k-labels.idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no t10k-labels-idx1-ubyte\.gz, packed or not"):
        read_digits(small, "test")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte.gz", lambda data: data[:-20], "cannot be unpacked"),
        ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(gzip.decompress(data)[:-9]), "promises .* bytes"),
        ("train-labels.idx1-ubyte", lambda data: b"PK" + data, "does not begin as an IDX file"),
        ("train-labels.idx1-ubyte", lambda data: data[:4] + (199).to_bytes(4, "big") + data[8:-1], "a label from 0"),
        ("train-labels.idx1-ubyte", lambda data: data[:-1] + b"\x0a", "up to 10 were found"),
    ],
)
def test_damaged_copies(small: Path, name: str, change: object, message: str) -> None:
    assert callable(change)
    (small / name).write_bytes(change((small / name).read_bytes()))
    with pytest.raises(ValueError, match=message):
        read_digits(small, "train")


def test_images_of_the_hub_are_png_files(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = torch.arange(784, dtype=torch.int64).remainder(256).to(torch.uint8)
    packed = io.BytesIO()
    image.frombytes("L", (28, 28), pixels.numpy().tobytes()).save(packed, "PNG")
    asked: list[tuple[str, str]] = []

    def rows(repo: str, file: str) -> list[dict[str, object]]:
        asked.append((repo, file))
        return [{"image": {"bytes": packed.getvalue()}, "label": 3}]

    monkeypatch.setattr(files, "hub_rows", rows)
    images, labels = read_digits(find_digits("hub"), "test")
    assert images.flatten().equal(pixels)
    assert labels.tolist() == [3]
    assert asked == [("ylecun/mnist", "mnist/test-00000-of-00001.parquet")]


def test_shrunk_images_are_means_of_squares() -> None:
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, :2, :2] = torch.tensor([[10, 20], [30, 41]])
    assert shrunk(image, 14)[0, 0, 0] == 25
    assert shrunk(image, 7)[0, 0, 0] == 6
    assert shrunk(image, 28) is image


def test_splits_are_apart(small: Path) -> None:
    images = load_images(str(small), 49)
    assert [len(split.labels) for split in (images.train, images.validation, images.test)] == [180, 20, 40]
    assert images.train.images.shape == (180, 49)
    assert images.sha256 != load_images(str(small), 196).sha256
