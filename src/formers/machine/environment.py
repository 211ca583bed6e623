"""The environment that a number was measured in: versions, device, threads, commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from formers.machine.device import device_name

if TYPE_CHECKING:
    import torch


def environment(device: torch.device | str) -> dict[str, str]:
    """Return everything about the machine and its software that a number of this device may depend on, as text."""
    return software() | hardware(device)


def software() -> dict[str, str]:
    """Return versions, system and commit, as text. Loads none of the libraries."""
    facts = {name: installed_version(name) for name in ("formers", "torch", "transformers")}
    facts |= {"python": platform.python_version(), "platform": platform.platform()}
    commit = git_commit()
    return facts | ({"commit": commit} if commit else {})


def hardware(device: torch.device | str) -> dict[str, str]:
    """Return the device's name and the threads, as text. Loads torch."""
    import torch

    return {"device": device_name(device), "threads": str(torch.get_num_threads())}


@cache
def installed_version(package: str) -> str:
    """Return the installed version of a package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@lru_cache(maxsize=1)
def git_commit() -> str:
    """Return the commit this library was run from, with `+` after it when files differ from it; empty outside git."""
    here = Path(__file__).parent
    try:
        _git(here, "ls-files", "--error-unmatch", __file__)  # installed inside someone's repository is not part of it
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
