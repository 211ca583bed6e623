"""The lab: studies, their arms, and the rows they leave behind. It never knows which part it is running."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "formers.lab.executors.processes": ("Processes",),
    "formers.lab.executors.ray": ("Cluster",),
    "formers.lab.executors.slurm": ("Slurm",),
    "formers.lab.run_study": ("run",),
    "formers.lab.store.records": ("LengthResult", "Point", "Results", "Row", "TaskMetric"),
    "formers.lab.store.store": ("Store",),
    "formers.lab.study.arm": ("Arm", "vary"),
    "formers.lab.study.budget": ("Budget",),
    "formers.lab.study.compute": ("Compute",),
    "formers.lab.study.slurm_resources": ("SlurmResources",),
    "formers.lab.study.study": ("Study",),
    "formers.lab.study.yaml": ("read_study", "write_study"),
    "formers.lab.train.stop": ("Stopped",),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    # Lazy, so that reading a report imports neither torch nor the training loop.
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'formers.lab' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_MODULE_OF[name]), name)
