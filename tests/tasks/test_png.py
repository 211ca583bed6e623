from __future__ import annotations

import struct
import zlib

import torch

from formers.tasks.png import grid, png


def pixels(data: bytes) -> list[list[int]]:
    """Return the grey values of a PNG file with one data chunk."""
    width, height = struct.unpack(">2I", data[16:24])
    start = data.index(b"IDAT") + 4
    (size,) = struct.unpack(">I", data[start - 8 : start - 4])
    lines = zlib.decompress(data[start : start + size])
    return [list(lines[row * (width + 1) + 1 : (row + 1) * (width + 1)]) for row in range(height)]


def test_a_png_holds_the_pixels() -> None:
    image = torch.arange(6, dtype=torch.uint8).view(2, 3) * 51
    assert png(image).startswith(b"\x89PNG\r\n\x1a\n")
    assert pixels(png(image)) == image.tolist()


def test_every_chunk_has_its_checksum() -> None:
    data, at = png(torch.zeros(4, 4, dtype=torch.uint8)), 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(body)
        at += 12 + size
    assert at == len(data)


def test_a_grid_puts_images_side_by_side() -> None:
    images = torch.arange(2 * 3, dtype=torch.uint8).view(2, 3, 1, 1).expand(2, 3, 4, 5)
    page = grid(images, scale=2)
    assert page.shape == (2 * 10 + 2, 3 * 12 + 2)
    assert page[2, 2] == 0
    assert page[12, 2 + 2 * 12] == 5
    assert page[0, 0] == 128
