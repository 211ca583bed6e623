"""Bytes to text, with errors that name where the bytes come from."""

from __future__ import annotations


def text_of(data: bytes, origin: object) -> str:
    """Return the text of some bytes. Raise `ValueError` naming their origin if they are empty or no UTF-8 text."""
    if not data.strip():
        raise ValueError(f"{origin} is empty; give a UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{origin} is not a UTF-8 text (line {line}, byte {error.start}: {error.reason}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"{origin} is binary (it holds zero bytes); give a UTF-8 text")
    return text
