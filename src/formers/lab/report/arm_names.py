"""Names of arms in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from formers.lab.report.summary import ArmSummary

_LISTED = 110
"Characters of names that a sentence lists before it counts the rest."


def names_text(arms: Sequence[ArmSummary]) -> str:
    """Return “a”, “b” and 3 more: as many as one can read, quoted, since names of arms may hold commas."""
    named = [quoted_name(arms[0])]
    for arm in arms[1:]:
        if len(", ".join(named)) + len(arm.name) > _LISTED:
            break
        named.append(quoted_name(arm))
    if len(named) < len(arms):
        named.append(f"{len(arms) - len(named)} more")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def quoted_name(arm: ArmSummary) -> str:
    """Return the name of an arm in quotation marks."""
    return f"“{arm.name}”"
