"""Benches of made-up times, and parts that go wrong in known ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from formers.bench.plan import BenchPlan
from formers.bench.results import BenchResults, Measurement
from formers.bench.sizes import Sweep
from formers.bench.subjects.mixer import MixerSubject
from formers.bench.subjects.parse import parse_subjects
from formers.mixers import Identity

torch.set_num_threads(1)

SIZES = (256, 512, 1024, 2048)
NOISE = (1.0, 1.02, 0.97, 1.01, 0.99, 1.05, 0.98)
"""What slowed the made-up machine down, round by round."""


def _made_up(
    times: Mapping[str, Callable[[int], float]], reference: str = "softmax", phase: str = "forward"
) -> BenchResults:
    """A bench whose times are functions of the length, times the noise; the memory is 100 bytes a token."""
    rows = [
        Measurement(
            subject=name,
            kind="mixer",
            status="measured",
            phase=phase,
            length=size,
            width=64,
            heads=2,
            batch=1,
            seconds=tuple(time(size) * slow for slow in NOISE),
            yardstick=tuple(0.01 * slow for slow in NOISE),
            peak_bytes=100 * size,
            flops=size * 1000,
        )
        for name, time in times.items()
        for size in SIZES
    ]
    return BenchResults(
        axis="length",
        reference=reference,
        causal=True,
        rounds=len(NOISE),
        product_flops=1e9,
        rows=tuple(rows),
        environment={"device": "a machine", "threads": "1"},
        command="formers bench softmax linear",
        date="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def made_up() -> Callable[..., BenchResults]:
    """`made_up(times, reference, phase)`: results whose times are functions of the length."""
    return _made_up


@pytest.fixture
def crossing() -> BenchResults:
    """Softmax quadratic, linear linear: they cost the same at 700 tokens."""
    return _made_up({"softmax": lambda n: 1e-8 * n**2, "linear": lambda n: 7e-6 * n})


class Wrong(Identity):
    """Not in the catalogue: its name says what is wrong with it."""

    def module(self, site: Any) -> Any:
        module = super().module(site)
        whole = module.forward
        module.forward = lambda x, state=None, **rest: self.spoil(x, *whole(x, state, **rest))
        return module

    def spoil(self, x: Any, y: Any, state: Any) -> Any:
        raise NotImplementedError


class _Peeking(Wrong):
    """Looks into the future."""

    def spoil(self, x: Any, y: Any, state: Any) -> Any:
        return y - y.mean(1, keepdim=True), state


class _Hungry(Wrong):
    """Wants more memory than there is, from 16 tokens on."""

    def spoil(self, x: Any, y: Any, state: Any) -> Any:
        return (y + torch.empty(2**48) if x.shape[1] >= 16 else y), state


class _Breaking(Wrong):
    """Works a few times, and then never again."""

    def spoil(self, x: Any, y: Any, state: Any) -> Any:
        CALLS.append(1)
        if len(CALLS) > 12:
            raise ArithmeticError("worn out")
        return y, state


CALLS: list[int] = []


@pytest.fixture
def peeking() -> MixerSubject:
    return MixerSubject(_Peeking())


@pytest.fixture
def hungry() -> MixerSubject:
    return MixerSubject(_Hungry())


@pytest.fixture
def breaking() -> MixerSubject:
    CALLS.clear()
    return MixerSubject(_Breaking())


@pytest.fixture
def lawful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part keeps its laws: trying them takes a second each, and is not what the test is about."""
    monkeypatch.setattr("formers.bench.subjects.mixer.broken_laws", lambda part, site: {})


@pytest.fixture
def small() -> Callable[..., BenchPlan]:
    """Plans that take no time."""

    def make(*subjects: Any, **changes: Any) -> BenchPlan:
        named = parse_subjects([one for one in subjects if isinstance(one, str)])
        given = {"sweep": Sweep(length=(8, 16, 32), width=(8,), heads=(2,)), "reference": "identity", "rounds": 3}
        others = tuple(one for one in subjects if not isinstance(one, str))
        return BenchPlan(subjects=(*named, *others), **{**given, **changes})

    return make
