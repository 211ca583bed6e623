"""Images of MNIST by split, as long as a sequence: whole, or shrunk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from formers.tasks.mnist.files import SIDE, Digits, find_digits, read_digits
from formers.tasks.sources import stamp

LENGTHS = {784: 28, 196: 14, 49: 7}
"""Pixels of an image → its rows and columns, of which each divides 28."""
_VALIDATING = 5_000
"""The last so many of the training images validate; a tenth of smaller copies."""


@dataclass(frozen=True)
class Images:
    """Images of digits in raster order, (N, L) in uint8, and their labels, by split."""

    train: Digits
    validation: Digits
    test: Digits
    sha256: str


def load_images(path: str | None, length: int) -> Images:
    """Return the images of a copy at `path`, of the one in FORMERS_DATA, or of the hub, read once until it changes."""
    place = find_digits(path)
    return _split(place, () if place is None else stamp(place), length)


@lru_cache(maxsize=2)
def _split(place: Path | None, stamps: tuple[object, ...], length: int) -> Images:
    """Return the splits; `stamps` tell changed files from those read before."""
    train, test = (_flat(read_digits(place, part), length) for part in ("train", "test"))
    held = min(_VALIDATING, len(train.labels) // 10)
    if not held:
        raise ValueError(f"{place}: {len(train.labels)} training images are too few to validate on some of them")
    whole = hashlib.sha256()
    for digits in (train, test):
        whole.update(digits.images.numpy().tobytes() + digits.labels.numpy().tobytes())
    kept = len(train.labels) - held
    return Images(
        train=Digits(train.images[:kept], train.labels[:kept]),
        validation=Digits(train.images[kept:], train.labels[kept:]),
        test=test,
        sha256=whole.hexdigest(),
    )


def _flat(digits: Digits, length: int) -> Digits:
    """Return the images in raster order, shrunk to `length` pixels."""
    return Digits(shrunk(digits.images, LENGTHS[length]).flatten(1), digits.labels)


def shrunk(images_nhw: Tensor, side: int) -> Tensor:
    """Return images, (N, 28, 28), as (N, side, side): each pixel the mean of a square of them, rounded."""
    block = SIDE // side
    if block == 1:
        return images_nhw
    squares = images_nhw.unflatten(2, (side, block)).unflatten(1, (side, block))
    return squares.float().mean((2, 4)).round().to(images_nhw.dtype)
