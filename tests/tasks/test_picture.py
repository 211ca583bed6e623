from __future__ import annotations

import base64

import pytest

from formers.tasks import Picture
from formers.tasks.picture import MOST_BYTES

PNG = b"\x89PNG\r\n\x1a\n" + bytes(9)


def test_a_file_becomes_an_address() -> None:
    picture = Picture.of_file("nothing", PNG)
    head, _, data = picture.uri.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == PNG
    assert Picture.of_file("nothing", b"GIF89a").uri.startswith("data:image/gif;base64,")


def test_the_largest_one() -> None:
    Picture.of_file("large", PNG + bytes(MOST_BYTES - len(PNG)))
    with pytest.raises(ValueError, match="at most 500,000 bytes"):
        Picture.of_file("too large", PNG + bytes(MOST_BYTES))


@pytest.mark.parametrize("data", [b"", b"<svg>", b"BM\0\0"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="GIF or PNG"):
        Picture.of_file("other", data)


@pytest.mark.parametrize("uri", ["https://example.org/a.png", "data:text/html;base64,AAAA", "data:image/gif;base64,?"])
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"data: address"):
        Picture(caption="other", uri=uri)


def test_a_caption_is_text() -> None:
    with pytest.raises(TypeError, match="both texts"):
        Picture(caption=3, uri="")  # type: ignore[arg-type]
