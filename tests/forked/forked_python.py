"""Processes of Python that need not import torch, transformers and MLflow anew: they are forked from one that has."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

SERVER = Path(__file__).with_name("server.py")


class ForkedPython:
    """Starts processes as `subprocess` would start `python WORDS`, without the seconds that imports take."""

    def __init__(self) -> None:
        self.asks, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, str(SERVER), str(other.fileno())]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(words, pass_fds=[other.fileno()], env=environment, cwd=SERVER.parent)
        other.close()

    def start(self, *words: str, cwd: str | Path | None = None, env: Mapping[str, str] | None = None) -> ForkedProcess:
        """Start `python WORDS`: `-c CODE`, `-m MODULE …` or a file."""
        ask = {
            "words": [str(word) for word in words],
            "folder": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        (out, out_end), (errors, errors_end), (told, told_end) = (os.pipe() for _ in range(3))
        nothing = os.open(os.devnull, os.O_RDONLY)
        ends = [nothing, out_end, errors_end, told_end]
        socket.send_fds(self.asks, [json.dumps(ask).encode()], ends)
        for end in ends:
            os.close(end)
        return ForkedProcess(open(out), open(errors), open(told))

    def run(
        self,
        *words: str,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> ForkedProcess:
        """Start a process and wait for its end; it keeps what it wrote as `out` and `err`."""
        with self.start(*words, cwd=cwd, env=env) as process:
            process.communicate(timeout)
        return process

    def close(self) -> None:
        self.asks.close()
        self.server.wait()


class ForkedProcess:
    """What `subprocess.Popen` would be, of a process that was forked elsewhere.

    Attributes:
        pid: the number of the process.
        stdout, stderr: what it writes, as it comes.
        out, err: all that it wrote, after `communicate`.
        returncode: None before its end is known.
        seconds: of the processor, that it and those it waited for took.
    """

    def __init__(self, stdout: IO[str], stderr: IO[str], told: IO[str]) -> None:
        self.stdout, self.stderr, self._told = stdout, stderr, told
        self.pid, self.out, self.err = int(told.readline()), "", ""
        self.returncode: int | None = None
        self.seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        for file in (self.stdout, self.stderr, self._told):
            file.close()

    def wait(self, timeout: float = 600) -> int:
        """Return the exit code, negative for a signal. Raise TimeoutError while it goes on."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} goes on after {timeout} s")
            code, seconds = self._told.readline().split()
            self.returncode, self.seconds = int(code), float(seconds)
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Return all that it writes, and wait for its end."""
        end, written = time.monotonic() + timeout, dict[str, str]()
        readers = [
            threading.Thread(target=lambda n=name, f=file: written.update({n: f.read()}), daemon=True)
            for name, file in (("out", self.stdout), ("err", self.stderr))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(0, end - time.monotonic()))
        if any(reader.is_alive() for reader in readers):
            raise TimeoutError(f"process {self.pid} goes on after {timeout} s")
        self.wait(max(0, end - time.monotonic()))
        self.out, self.err = written["out"], written["err"]
        return self.out, self.err

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, if it goes on."""
        if self.returncode is None and not select.select([self._told], [], [], 0)[0]:
            self.send_signal(signal.SIGKILL)
