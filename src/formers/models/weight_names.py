"""Names of weights, by their ends."""

from __future__ import annotations

from collections.abc import Iterable


def named_by(end: str, names: Iterable[str]) -> list[str]:
    """Return the names that an end means: `gate_h` means `layers.3.mixer.gate_h`, but not `layers.3.mixer.big_gate_h`.

    An end is the last names in a dotted path, each whole, up to all of them.
    """
    return [name for name in names if f".{name}".endswith(f".{end}")]
