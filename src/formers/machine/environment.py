"""Where a row was made: versions, device, threads, commit."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def environment() -> dict[str, str]:
    """Everything about the machine that a number may depend on, as text."""
    facts = {name: installed(name) for name in ("formers", "torch", "transformers")}
    facts |= {
        "python": platform.python_version(),
        "device": _device_name(),
        "threads": str(torch.get_num_threads()),
        "platform": platform.platform(),
    }
    commit = git_commit()
    return facts | ({"commit": commit} if commit else {})


def installed(package: str) -> str:
    """The installed version of a package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device_name() -> str:
    """The GPU's name, or the processor's."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"cpu ({processor()})"


@lru_cache(maxsize=1)
def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def git_commit() -> str:
    """The commit this library was run from, with `+` after it when files differ from it; empty outside git."""
    here = Path(__file__).parent
    try:
        git(here, "ls-files", "--error-unmatch", __file__)  # installed inside someone's repository is not part of it
        head = git(here, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
