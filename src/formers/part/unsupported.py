"""Errors for combinations that cannot exist, and for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from formers.part.quoted import LONGEST, quoted

_MEANT = {"gpu": "cuda"}
"""Words that people write → the one that is known."""


class Unsupported(ValueError):
    """A combination that cannot exist. The message names both sides, the reason, and what to use instead."""


def check_names(owner: str, given: Iterable[Any], known: Sequence[str], word: str = "option", unlike: str = "") -> None:
    """Raise TypeError for the first option that is not known, with the nearest that is; ValueError for other words.

    Where none is near, the error ends with all that are known, and with the sentence `unlike`.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.6 if unlike else 0.5) if _is_word(name) else []
            near = [_MEANT[name]] if _is_word(name) and _MEANT.get(name) in known else near
            whole = word in ("member", owner)  # the owner is the kind of thing itself, and has no other word for it
            listed = ", ".join(dict.fromkeys(known)) or "none"
            listed = f"{'choose one of' if whole else 'it has'} {listed}" + (f"; {unlike}" if unlike else "")
            hint = f"did you mean {near[0]!r}?" if near else listed
            lacking = f"there is no {owner}" if whole else f"{owner} has no {word}"
            raise (TypeError if word == "option" else ValueError)(f"{lacking} {quoted(name)}; {hint}")


def _is_word(name: Any) -> bool:
    """Return whether a name may be a misspelt one: text that is not long, which comparing it would take."""
    return isinstance(name, str) and len(name) <= LONGEST
