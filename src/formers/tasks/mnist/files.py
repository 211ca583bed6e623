"""Files of MNIST: a user's copy in the published format, or the hub's."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from formers.tasks.hub import hub_rows
from formers.tasks.sources import HUB, locate

Origin = Literal["train", "test"]
"""The published file that an image is in."""
SIDE = 28
"""Rows and columns of an image."""

_FOLDERS = ("mnist", "MNIST/raw", "MNIST", "mnist/MNIST/raw")
_PREFIXES: dict[Origin, str] = {"train": "train", "test": "t10k"}
_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
_HOW = (
    f"Get the four files with `curl -LO '{_URL}/{{train,t10k}}-images-idx3-ubyte.gz' -LO "
    f"'{_URL}/{{train,t10k}}-labels-idx1-ubyte.gz'` and give mnist(task=…, path=…) their folder, or put them into a "
    "folder mnist and set FORMERS_DATA to the one it lies in; path='hub' downloads ylecun/mnist (needs pyarrow, pillow)"
)
_BYTES = 0x08  # the type of data in the third byte of a file


class Digits(NamedTuple):
    """Images of digits.

    Attributes:
        images: grey values from 0 = black to 255 = white, (N, 28, 28) in uint8.
        labels: the digit in each, (N,) in int64.
    """

    images: Tensor
    labels: Tensor


def find_digits(path: str | None) -> Path | None:
    """Return the folder of a copy; None for the hub. Raise `FileNotFoundError` with how to get it."""
    return None if path == HUB else locate(path, _FOLDERS, _HOW)


def read_digits(place: Path | None, part: Origin) -> Digits:
    """Return the training or the test images of a copy, or of the hub. Raise ValueError for files that are no MNIST."""
    if place is None:
        return _downloaded(part)
    images = _read_idx(_file(place, f"{_PREFIXES[part]}-images", 3), 3)
    labels = _read_idx(_file(place, f"{_PREFIXES[part]}-labels", 1), 1).long()
    if tuple(images.shape[1:]) != (SIDE, SIDE) or not len(images):
        raise ValueError(f"{place}: expected images of {SIDE} × {SIDE} pixels, not {tuple(images.shape)}")
    if len(images) != len(labels) or int(labels.max()) > 9:
        raise ValueError(
            f"{place}: expected a label from 0 to 9 for each of the {len(images)} {part} images, but {len(labels)} up "
            f"to {int(labels.max()) if len(labels) else 'nothing'} were found"
        )
    return Digits(images, labels)


def _file(place: Path, stem: str, axes: int) -> Path:
    """Return the file, packed or not, with a dot or a hyphen in its name as copies have it."""
    names = [f"{stem}{sign}idx{axes}-ubyte{end}" for sign in "-." for end in ("", ".gz")]
    for name in names:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"no data: {place} has no {names[1]}, packed or not. {_HOW}")


def _read_idx(file: Path, axes: int) -> Tensor:
    """Return the bytes of an IDX file: 0, 0, type, number of axes; each size in four bytes; the data."""
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} cannot be unpacked ({error}); copy it again") from None
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes([0, 0, _BYTES, axes]):
        raise ValueError(f"{file} does not begin as an IDX file of bytes with {axes} axes; copy it again")
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if len(data) - start != math.prod(shape):
        raise ValueError(f"{file} promises {tuple(shape)} bytes, but {len(data) - start:,} follow; copy it again")
    return torch.frombuffer(bytearray(data[start:]) or bytearray(1), dtype=torch.uint8)[: math.prod(shape)].view(shape)


def _downloaded(part: Origin) -> Digits:
    """Return images of ylecun/mnist on the hub, which are PNG files there."""
    if find_spec("PIL") is None:
        raise ImportError("reading ylecun/mnist from the hub needs pillow: pip install pillow; or give path= of a copy")
    from PIL import Image

    rows = hub_rows("ylecun/mnist", f"mnist/{part}-00000-of-00001.parquet")
    pixels = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("L").tobytes() for row in rows]
    images = torch.frombuffer(bytearray(b"".join(pixels)), dtype=torch.uint8).view(-1, SIDE, SIDE)
    return Digits(images, torch.tensor([row["label"] for row in rows]))
