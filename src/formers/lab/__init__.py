"""The lab: studies, their arms, and the rows they leave behind. It never knows which part it is running."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "formers.lab.study.arm": ("Arm", "vary"),
    "formers.lab.study.budget": ("Budget",),
    "formers.lab.executors.ray": ("Cluster",),
    "formers.lab.executors.processes": ("Processes",),
    "formers.lab.store.records": ("TaskMetric", "Point", "Results", "Row"),
    "formers.lab.store.store": ("Store",),
    "formers.lab.train.stop": ("Stopped",),
    "formers.lab.study.study": ("Study",),
    "formers.lab.run_study": ("run",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    # Lazy, so that reading a report imports neither torch nor the training loop.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'formers.lab' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME_OF[name]), name)
