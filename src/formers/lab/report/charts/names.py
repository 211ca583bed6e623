"""Names of arms beside marks and below charts."""

from __future__ import annotations

from collections.abc import Sequence

from formers.lab.report.summary import ArmSummary
from formers.plot.looks import MAX_LOOKS

_MAX_LENGTH = 24
"Characters of a name that is written beside a mark."


def short_name(arm: ArmSummary) -> str:
    """Return the name if it fits beside a mark, else `#3`, the rank."""
    return arm.name if len(arm.name) <= _MAX_LENGTH else f"#{arm.rank}"


def listed(names: Sequence[str]) -> str:
    """Return as many names as one reads; quoted as in the headline, since they may hold commas."""
    more = f" and {len(names) - MAX_LOOKS} more" if len(names) > MAX_LOOKS else ""
    return ", ".join(f"“{name}”" for name in names[:MAX_LOOKS]) + more
