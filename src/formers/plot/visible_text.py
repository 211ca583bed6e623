"""Text that no file, page, spreadsheet or terminal acts on."""

from __future__ import annotations

_DIRECTIONS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Characters that change the direction of the text around them: all that Unicode has."""
_CONTROLS: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(32) if code not in (9, 10)},
    **{code: f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), *_DIRECTIONS)},
    0x7F: 0x2421,
    0x2028: 10,
    0x2029: 10,
}


def visible(text: str) -> str:
    """Return `text` with control characters, old and new, and changes of direction drawn (␛, [U+202E]).

    Line breaks and tabs stay; lone surrogates, which no file can hold, become `?`.
    """
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")


def visible_line(text: str) -> str:
    """Return `visible(text)` on one line."""
    return visible(text).replace("\n", "␊").replace("\t", " ")
