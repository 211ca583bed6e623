"""Grey images as PNG files, and several of them as one."""

from __future__ import annotations

import struct
import zlib

import torch
from torch import Tensor

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GAP = 2  # pixels between the images of a grid
_PAPER = 128  # their grey


def png(image_hw: Tensor) -> bytes:
    """Return a grey image, (height, width) in uint8 from 0 = black to 255 = white, as a PNG file."""
    height, width = image_hw.shape
    rows = image_hw.to("cpu", torch.uint8).contiguous()
    lines = b"".join(b"\0" + bytes(row.tolist()) for row in rows)  # each line begins with its filter: none
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)  # 8 bits, grey
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines, 9)) + _chunk(b"IEND", b"")


def grid(images_rchw: Tensor, scale: int = 1) -> Tensor:
    """Return images, (rows, columns, height, width) in uint8, as one, gaps between: `scale` times as large."""
    rows, columns, height, width = images_rchw.shape
    tall, wide = height * scale, width * scale
    page = torch.full((rows * (tall + _GAP) + _GAP, columns * (wide + _GAP) + _GAP), _PAPER, dtype=torch.uint8)
    large = images_rchw.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    for row in range(rows):
        for column in range(columns):
            top, left = _GAP + row * (tall + _GAP), _GAP + column * (wide + _GAP)
            page[top : top + tall, left : left + wide] = large[row, column]
    return page


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
