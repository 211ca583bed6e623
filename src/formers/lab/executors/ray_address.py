"""Whether anybody answers at the address of a cluster: Ray itself goes on trying for minutes."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from formers.lab.store.write_error import reason

PATIENCE = 3.0
"""Seconds."""
START = (
    "Start one with `ray start --head`, join one from this machine with `ray start --address=host:port`, or let --ray local "
    "start one for this study alone"
)


def check_reach(address: str) -> None:
    """Raises `ValueError` where an address cannot be read, or nobody takes a connection there.

    `auto` means what `RAY_ADDRESS` says, or what `ray start` left word of; where there is neither, Ray looks for itself.
    """
    if address == "local":
        return
    place, source = _recorded() if address == "auto" else (address, "")
    if address == "auto" and not place:
        return
    host, port = _parsed(place, address)
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except OSError as error:
        raise ValueError(
            f"--ray {address}: no Ray cluster answers at {host}:{port}{source} ({reason(error)}). Expected: the address that "
            f"`ray start --head` prints, host:port, or ray://host:port of its client server. {START}"
        ) from error


def _recorded() -> tuple[str, str]:
    """What `auto` means to Ray, and where that is written; empty where it is written nowhere."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named, ", which RAY_ADDRESS names"
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or tempfile.gettempdir()
    file = Path(temporary) / "ray" / "ray_current_cluster"
    return (file.read_text(encoding="utf-8").strip(), f", which {file} names") if file.is_file() else ("", "")


def _parsed(place: str, given: str) -> tuple[str, int]:
    """The host and port of `host:port` or `ray://host:port`."""
    try:
        parts = urlsplit(place if "://" in place else f"ray://{place}")
        if parts.scheme == "ray" and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:  # a port that is no number
        pass
    raise ValueError(
        f"--ray {given}: {place!r} is no address of a Ray cluster; expected host:port, ray://host:port, 'auto' or 'local'"
    )
