from __future__ import annotations

from formers.lab.executors.remote_progress import RemoteProgress, deliver
from formers.lab.train.progress import Silent


class Listens(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def begin(self, label: str, steps: int) -> None:
        self.told.append(("begin", label))

    def step(self, label: str, done: int) -> None:
        self.told.append(("step", label))

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        self.told.append(("measured", label))


def test_what_is_sent_is_told() -> None:
    there = Listens()
    here = RemoteProgress(lambda message: deliver(message, there))
    here.begin("a", 3)
    for step in range(1000):
        here.step("a", step)
    here.measured("a", 3, {"loss": 1.0})
    assert there.told[0] == ("begin", "a")
    assert there.told[-1] == ("measured", "a")
    assert 3 <= len(there.told) < 1000  # most steps are kept to itself
