"""Names that a shell completes. Only the library knows its parts, so that TAB loads it: a second or two."""

from __future__ import annotations

from formers.cli.listing import parts_by_axis


def axis_names(incomplete: str) -> list[str]:
    """Return the axes that begin so."""
    return _beginning(incomplete, list(parts_by_axis()))


def part_names(incomplete: str) -> list[str]:
    """Return the parts and tasks that begin so."""
    return _beginning(incomplete, [kind.name() for kinds in parts_by_axis().values() for kind in kinds])


def task_names(incomplete: str) -> list[str]:
    """Return the tasks that begin so."""
    return _beginning(incomplete, [kind.name() for kind in parts_by_axis()["task"]])


def choices(incomplete: str) -> list[str]:
    """Return `axis=` for the axes that begin so, or, behind it, the parts that the list may go on with."""
    axis, equals, listed = incomplete.partition("=")
    groups = parts_by_axis()
    if not equals:
        return _beginning(axis, [f"{name}=" for name in groups])
    before, comma, last = listed.rpartition(",")
    return [f"{axis}={before}{comma}{name}" for name in _beginning(last, [k.name() for k in groups.get(axis, ())])]


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
