"""The connection to a Ray cluster. A wrong address is reported at once; Ray itself would try for minutes."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from formers.lab.store.write_error import one_line

TIMEOUT = 3.0
"""Seconds that a cluster has to take a connection."""
_HOW_TO_START = (
    "Start one with `ray start --head`, join one from this machine with `ray start --address=host:port`, or let "
    "--ray local start one for this study alone"
)
_TOKEN = (
    "A cluster that asks for a token needs RAY_AUTH_MODE=token in the environment, and its token in ~/.ray/auth_token "
    "or in RAY_AUTH_TOKEN"
)


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """Yield Ray, connected to a cluster while the block runs; a connection that was there before stays.

    Raises:
        ValueError: where there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of a default that will change
    import ray

    if ray.is_initialized():
        yield ray
        return
    check_address(address)
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        with _signals_kept():
            ray.init(address=address, log_to_driver=False, configure_logging=False, **local)
    except ConnectionError as error:
        raise ValueError(
            f"--ray {address}: no Ray cluster runs on this machine, and RAY_ADDRESS names none. {_HOW_TO_START}"
            if address == "auto"
            else f"--ray {address}: Ray cannot connect: {one_line(error)}. {_TOKEN}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back what Ctrl-C and SIGTERM do, after the block: `ray.init` lets SIGTERM end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set what signals do
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_address(address: str) -> None:
    """Raise ValueError where an address cannot be read, or nothing takes a connection there.

    `auto` means the address in `RAY_ADDRESS`, or the one that `ray start` recorded; without either, Ray looks for a
    cluster.
    """
    if address == "local":
        return
    place, source = _recorded_address() if address == "auto" else (address, "")
    if address == "auto" and not place:
        return
    host, port = _host_and_port(place, address)
    try:
        socket.create_connection((host, port), TIMEOUT).close()
    except OSError as error:
        raise ValueError(
            f"--ray {address}: no Ray cluster answers at {host}:{port}{source} ({one_line(error)}). Expected: the "
            "address that `ray start --head` prints, host:port, or ray://host:port of its client server. "
            f"{_HOW_TO_START}"
        ) from error


def _recorded_address() -> tuple[str, str]:
    """Return the address that `auto` means to Ray, and where that is written; empty where it is written nowhere."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named, ", which RAY_ADDRESS names"
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or tempfile.gettempdir()
    file = Path(temporary) / "ray" / "ray_current_cluster"
    return (file.read_text(encoding="utf-8").strip(), f", which {file} names") if file.is_file() else ("", "")


def _host_and_port(place: str, address: str) -> tuple[str, int]:
    """Return the host and port of `host:port` or `ray://host:port`; `address` is what the user gave."""
    try:
        parts = urlsplit(place if "://" in place else f"ray://{place}")
        if parts.scheme == "ray" and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:  # a port that is no number
        pass
    raise ValueError(
        f"--ray {address}: {place!r} is no address of a Ray cluster; expected host:port, ray://host:port, 'auto' or "
        "'local'"
    )
