"""Pictures that a trained model made, small enough to lie in a report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Self

MOST_BYTES = 500_000
"""The largest picture: reports hold several, and are sent by mail."""
_KINDS = {b"GIF87a": "gif", b"GIF89a": "gif", b"\x89PNG\r\n\x1a\n": "png"}
"""First bytes of a file → the kind of picture in it."""
_ADDRESSES = tuple(f"data:image/{kind};base64," for kind in ("gif", "png"))


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG or a GIF, which may move, with a sentence about it.

    Attributes:
        caption: the sentence, which is also read to those who do not see the picture.
        uri: the file as a `data:` address, which a page can show without a request.

    Raises:
        TypeError: for a caption or an address that is no text.
        ValueError: for an address that holds no PNG or GIF, and for a picture that is too large.
    """

    caption: str
    uri: str

    def __post_init__(self) -> None:
        if not isinstance(self.caption, str) or not isinstance(self.uri, str):
            raise TypeError(f"a picture has a caption and an address, both texts, not {self.caption!r}")
        head, comma, data = self.uri.partition(",")
        if f"{head}{comma}" not in _ADDRESSES:
            raise ValueError(f"a picture is a GIF or a PNG as a data: address, not {self.uri[:40]!r}")
        if len(data) * 3 // 4 > MOST_BYTES + 2:
            raise ValueError(f"a picture has at most {MOST_BYTES:,} bytes, not {len(data) * 3 // 4:,}; make it smaller")
        try:
            base64.b64decode(data, validate=True)
        except ValueError:
            raise ValueError("a picture's data: address is no base64") from None

    @classmethod
    def of_file(cls, caption: str, data: bytes) -> Self:
        """Return the picture in the bytes of a GIF or PNG file. Raise ValueError for other bytes, and for too many."""
        kind = next((kind for head, kind in _KINDS.items() if data.startswith(head)), None)
        if kind is None:
            raise ValueError(f"a picture is the bytes of a GIF or PNG file, but these begin with {data[:8]!r}")
        return cls(caption=caption, uri=f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
