"""A study as the lab leaves it behind: seven arms, one of which failed, and a bigram to compare with."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import pytest

from formers.lab.store.records import Point, Results, Row, TaskMetric

LOSS = TaskMetric(name="val_loss", label="loss", unit="nats/token")
CAUSE = "RuntimeError: expected <script>alert('cause')</script> & got \"nothing\""
FINAL = {
    "softmax": (1.612, 52.0, 0.0, 1024.0),
    "linear": (1.704, 38.0, 0.05, 0.0),
    "dense, danet": (1.668, 57.0, 0.12, 0.0),
    "metric": (1.603, 63.0, 0.02, 1024.0),
    "pool": (1.893, 24.0, -0.18, None),
    "identity": (2.462, 19.0, -0.25, 0.0),
}
FIXED = {"linear": 33_280.0, "dense, danet": 16_384.0}
PLACES = ("1–16", "17–32", "33–64", "65–128")
TEXTS = (
    "KING RICHARD:\nWhat say'st thou, man? The hour is come, and thou\nArt <b>bold</b> & brave.\n\n"
    "LADY ANNE:\nNo more.",
    "ROMEO:\nI will not speak of this, my gentle lord,\nFor all the world is but a stage of sorrow.",
)


def curve(final: float, seconds: float, noise: random.Random) -> tuple[Point, ...]:
    """Twenty evaluations that fall from chance to `final`."""

    def at(step: int) -> float:
        return final + (4.17 - final) * math.exp(-step / 60) * (1 + noise.gauss(0, 0.02)) + noise.gauss(0, 0.004)

    return tuple(
        Point(
            step=step,
            seconds=seconds * step / 400,
            values={"val_loss": at(step) if step < 400 else final, "train_loss": 1.0},
        )
        for step in range(0, 401, 20)
    )


def slices(final: float, noise: random.Random) -> dict[str, dict[str, float]]:
    """Two ways of dividing the test split; the second has one part."""
    by_place = {
        label: final * factor + noise.gauss(0, 0.01)
        for label, factor in zip(PLACES, (1.2, 1.05, 1.0, 0.96), strict=True)
    }
    return {"place in the text": by_place, "play": {"The Winter’s Tale": final}}


def items(final: float, arm: str, seed: int) -> tuple[float, ...]:
    """The metric of two hundred test items, hard and easy for every arm alike, with the mean `final`."""
    hard, own = random.Random(7), random.Random(f"{arm} {seed}")
    values = [hard.gauss(0, 0.3) + own.gauss(0, 0.05) for _ in range(200)]
    return tuple(final + value - fmean(values) for value in values)


def run(arm: str, seed: int) -> Row:
    """One finished run of one of the arms in `FINAL`."""
    loss, seconds, extra, state = FINAL[arm]
    noise = random.Random(f"{arm} {seed}")
    final = loss + random.Random(seed).gauss(0, 0.012) + noise.gauss(0, 0.005)
    seconds *= 1 + noise.gauss(0, 0.03)
    mixer, _, residual = arm.partition(", ")
    return Row(
        arm=arm,
        seed=seed,
        status="finished",
        choices={"mixer": mixer, "position": "rotary()", "residual": residual or "pre_norm()", "norm": "rms_norm()"},
        config={"width": 128, "depth": 4, "heads": 4, "mixer": {"name": mixer}, "ratio": None},
        metrics={"val_loss": final, "perplexity": math.exp(final)},
        validation={"val_loss": final - 0.02},
        chosen_step=400,
        slices=slices(final, random.Random(f"slices {arm} {seed}")),
        items=items(final, arm, seed),
        curve=curve(final, seconds, noise),
        samples=TEXTS,
        steps=400,
        parameters=round(812_000 * (1 + extra)),
        flops_per_token=1_730_000 * (1 + 1.4 * extra),
        state_bytes_per_token=state,
        state_bytes=None if state is None else 128 * state or FIXED.get(arm, 0.0),
        train_seconds=seconds,
        tokens_per_second=400 * 16 * 128 / seconds,
        peak_bytes=round((310 + 8 * seconds) * 2**20),
        tensor_bytes=round((40 + 60 * (1 + extra) + (state or 0) / 64) * 2**20),
        environment={"python": "3.11.7", "torch": "2.13.0", "device": "cpu, 2 threads", "commit": "62924ce"},
        data_hash="sha256:86c4e6aa9db7c042",
        command=f"formers ablate shakespeare --arm '{arm}' --seeds {seed} --steps 400",
    )


def failed(arm: str, seed: int) -> Row:
    """One run that stopped half-way."""
    return Row(
        arm=arm,
        seed=seed,
        status="failed",
        cause=CAUSE,
        choices={"mixer": arm, "position": "rotary()", "residual": "pre_norm()", "norm": "rms_norm()"},
        curve=curve(2.1, 50, random.Random(seed))[:8],
        steps=140,
        command=f"formers ablate shakespeare --arm '{arm}' --seeds {seed}",
    )


@pytest.fixture(scope="session")
def study() -> Callable[[int], Results]:
    """`study(seeds)`: the whole of it."""

    def build(seeds: int) -> Results:
        rows = [run(arm, seed) for arm in FINAL for seed in range(seeds)]
        rows += [failed("performer(features=128)", seed) for seed in range(seeds)]
        return Results(
            title="Which mixer for short plays?",
            description="Character-level language modelling on Shakespeare: predict the next of 65 characters "
            "from at most 128 before it.",
            metric=LOSS,
            rows=tuple(rows),
            references={"bigram": 2.481},
            budget="400 steps × 16 × 128 tokens",
            matched="steps",
            command="formers ablate shakespeare --vary mixer=softmax,linear,metric,pool,identity --seeds 3",
        )

    return build
