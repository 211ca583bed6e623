"""Parts of other axes that stand for a mixer in text, as a pattern does."""

from __future__ import annotations

import re
from difflib import get_close_matches

from formers.part import Part


def begins_with(text: str, axis: type[Part], mixer: type[Part]) -> bool:
    """Return whether a text of a mixer begins with a part of another axis.

    Raise ValueError if it looks like a misspelt one.
    """
    found = re.match(r"[~(\s]*(\w*)", text)
    word = found[1] if found else ""
    others, mixers = ({kind.name() for kind in kinds} for kinds in (axis.kinds(), mixer.kinds()))
    if word in others - mixers:
        return True
    known = word in mixers or word in {kind.__name__ for kind in mixer.kinds()}
    near = [] if known else get_close_matches(word, sorted(mixers | others), n=1, cutoff=0.5)
    if near and near[0] not in mixers:
        raise ValueError(f"there is no mixer {word!r}; did you mean the {axis.name()} {near[0]!r}?")
    return False
