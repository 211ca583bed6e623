"""Text that no file, page or terminal acts on."""

from __future__ import annotations

_CONTROLS = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {0x7F: 0x2421, 0x2028: 10, 0x2029: 10}


def visible(text: str) -> str:
    """Return `text` with control characters drawn (␀, ␛) and lone surrogates replaced."""
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")
