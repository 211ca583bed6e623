"""The package's extras, `formers[lab]` and the like: what each needs, and what of that is not installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement


def extras() -> dict[str, tuple[Requirement, ...]]:
    """Return extra → its requirements on this system, as the installed package declares them.

    Empty if `formers` is not installed.
    """
    try:
        declared = [Requirement(text) for text in requires("formers") or ()]
    except PackageNotFoundError:
        return {}
    found: dict[str, list[Requirement]] = {}
    for requirement in declared:
        name = _extra_of(requirement)
        if name and requirement.marker and requirement.marker.evaluate({"extra": name}):  # not for another system
            found.setdefault(name, []).append(requirement)
    return {name: tuple(needs) for name, needs in found.items()}


def missing(needs: Iterable[Requirement]) -> list[str]:
    """Return the requirements that are not met, each with the version that is installed if it is the wrong one."""
    unmet = []
    for need in needs:
        try:
            installed = version(need.name)
        except PackageNotFoundError:
            unmet.append(need.name)
            continue
        if not need.specifier.contains(installed, prereleases=True):
            unmet.append(f"{need.name}{need.specifier} (installed: {installed})")
    return unmet


def _extra_of(requirement: Requirement) -> str:
    """Return the extra that a requirement belongs to; empty for one of the package itself."""
    marker = str(requirement.marker or "")
    return marker.rpartition("extra == ")[2].strip("\"'") if "extra == " in marker else ""
