"""Time and size of the report of a thousand runs, and of a thousand arms."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from random import Random

from benchmarks.harness import Row, publish, timings

from formers.lab.report import write_html
from formers.lab.store import records as lab

NOTES = (
    "A page from rows in memory, written to a file: every row has 50 evaluations, 500 test items, 8 slices, three "
    "samples of 600 characters, and a command. The limits are three seconds and ten megabytes."
)
SECONDS, MEGABYTES = 3.0, 10.0
LABELS = ("4", "8", "16", "32", "64", "128", "256", "512")
METRIC = lab.TaskMetric(name="loss", label="loss", unit="nats/token")


def run(arm: int, seed: int) -> lab.Row:
    """Return one finished run."""
    random = Random(1000 * arm + seed)
    final = 1.5 + 0.001 * arm + random.gauss(0, 0.01)
    points = tuple(
        lab.Point(step=20 * step, seconds=step * 1.1, values={"loss": final + 3 * math.exp(-step / 8)})
        for step in range(50)
    )
    name = f"mixer=performer(features={arm}), position=alibi()"
    return lab.Row(
        arm=name,
        seed=seed,
        status="finished",
        choices={"mixer": f"performer(features={arm})", "position": "alibi()"},
        metrics={"loss": final, "perplexity": math.exp(final)},
        slices={"pairs": {label: final + 0.1 * index for index, label in enumerate(LABELS)}},
        items=tuple(random.gauss(final, 0.3) for _ in range(500)),
        curve=points,
        samples=("To be, or not to be, that is the question. " * 14,) * 3,
        steps=1000,
        parameters=800_000 + 100 * arm,
        flops_per_token=1.7e6 + arm,
        state_bytes_per_token=1024.0,
        state_bytes=131_072.0 + arm,
        train_seconds=50.0 + random.random(),
        tokens_per_second=40_000.0,
        peak_bytes=400_000_000 + arm,
        tensor_bytes=30_000_000 + 1000 * arm,
        environment={"torch": "2.13.0", "device": "cpu"},
        command=f"formers train shakespeare 'mixer=performer(features={arm})' --steps 1000 --seed {seed}",
    )


def rows_of(arms: int, seeds: int) -> list[Row]:
    """Return the time to make a report of so many runs, and its size."""
    rows = tuple(run(arm, seed) for arm in range(arms) for seed in range(seeds))
    results = lab.Results(title="speed", description="A thousand runs.", metric=METRIC, rows=rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        taken = timings({"page": lambda: write_html(results, path)}, repeats=3, warmup=0)["page"]
        size = path.stat().st_size / 1e6
    setting = f"{arms:,} arms × {seeds} seeds"
    spread = (taken.low / 1e3, taken.high / 1e3)
    return [
        Row("time", setting, taken.median / 1e3, SECONDS, "the limit", 1.0, "s", spread),
        Row("size", setting, size, MEGABYTES, "the limit", 1.0, "MB"),
    ]


def main() -> None:
    """Measure a thousand runs of few arms, and a thousand arms with three seeds."""
    rows = [*rows_of(50, 20), *rows_of(1000, 3)]
    publish("report_speed", "The report of a thousand runs, and of a thousand arms", NOTES, rows)


if __name__ == "__main__":
    main()
