"""Files that studies leave: rows, reports, benchmarks, manifests of checkpoints, counts of crashes."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from campaign import mutate
from campaign.stand import report_json, stand
from campaign.verdict import Nonsense, must_equal
from campaign.ways.way import way
from formers.bench import json_file as bench_file
from formers.bench.results import BenchResults, Measurement
from formers.lab.report import json_file as report_file
from formers.lab.report import to_csv, to_markdown
from formers.lab.report.html import render_html
from formers.lab.report.stored_results import stored_results
from formers.lab.train.checkpoint import newest_checkpoint, seal_checkpoint
from formers.lab.train.crash_counter import FILE, count_crashes


def _text_of(rng: Random, tree: Any) -> bytes:
    """Return a tree as JSON, with damage somewhere: to a value, to the text, or to the bytes."""
    if rng.random() < 0.7:  # no digest, as earlier versions wrote it: else all damage ends there
        tree = {name: value for name, value in tree.items() if name != "sha256"}
    text = mutate.as_json(mutate.a_tree(rng, tree))
    if rng.random() < 0.2:
        text = mutate.a_text(rng, text)
    data = text.encode("utf-8", "surrogatepass")
    return mutate.some_bytes(rng, data) if rng.random() < 0.1 else data


@way("report.json", 60, lambda rng: _text_of(rng, report_json()))
def enter_report(data: bytes, folder: Path) -> None:
    (folder / "report.json").write_bytes(data)
    results = stored_results(folder)
    must_equal(
        "report.json",
        report_file.to_json(report_file.from_json(report_file.to_json(results))),
        report_file.to_json(results),
    )
    assert to_csv(results)
    assert to_markdown(results)
    assert render_html(results)


@way("row.json", 20, lambda rng: _text_of(rng, report_json()["rows"][0]))  # type: ignore[index]
def enter_row(data: bytes, folder: Path) -> None:
    """A study whose row is damaged says so, or has a row that can be reported."""
    shutil.copytree(stand() / "study", folder / "study", ignore=shutil.ignore_patterns("models", "report.*"))
    rows = sorted((folder / "study").glob("artifacts/*/artifacts/row.json"))
    rows[0].write_bytes(data)
    assert report_file.to_json(stored_results(folder / "study"))


def _bench(rng: Random) -> bytes:
    size: dict[str, Any] = {"phase": "forward", "width": 8, "heads": 1, "batch": 1}
    times: dict[str, Any] = {"seconds": (0.1, 0.2, 0.3), "yardstick": (0.1, 0.1, 0.1), "flops": 10}
    rows = [Measurement(subject="softmax", kind="mixer", status="measured", length=n, **size, **times) for n in (8, 16)]
    rows.append(Measurement(subject="dense", kind="mixer", status="failed", cause="x"))
    whole = {"axis": "length", "reference": "softmax", "causal": True, "rounds": 3, "product_flops": 1.0}
    return _text_of(rng, json.loads(bench_file.to_json(BenchResults(rows=tuple(rows), **whole))))  # type: ignore[arg-type]


@way("bench.json", 40, _bench)
def enter_bench(data: bytes, folder: Path) -> None:
    from formers.bench.csv_text import to_csv as bench_csv
    from formers.bench.html import render_html as bench_page
    from formers.bench.summarize import summarize

    (folder / "bench.json").write_bytes(data)
    results: BenchResults = bench_file.load(folder / "bench.json")
    must_equal("bench.json", bench_file.from_json(bench_file.to_json(results)), results)
    if not all(isinstance(row, Measurement) for row in results.rows):
        raise Nonsense("a row is none")
    assert bench_csv(results)
    assert bench_page(results)
    assert summarize(results)


def _manifest(rng: Random) -> tuple[int, bytes]:
    return rng.randrange(10**9), b"" if rng.random() < 0.3 else mutate.some_bytes(rng, b"weights" * 20)


@way("manifests", 40, _manifest)
def enter_manifest(case: tuple[int, bytes], folder: Path) -> None:
    """A checkpoint whose manifest or file is damaged is not taken, the older one is; nothing damaged is taken."""
    seed, hurt = case
    for step in (2, 4):
        path = folder / f"checkpoint-{step}"
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"weights" * 20)
        (path / "trainer_state.json").write_text("{}")
        seal_checkpoint(path, "job")
    newest = folder / "checkpoint-4"
    if hurt:
        (newest / "model.safetensors").write_bytes(hurt)
    else:
        before = json.loads((newest / "complete.json").read_text())
        (newest / "complete.json").write_bytes(_text_of(Random(seed), copy.deepcopy(before)))
    point = newest_checkpoint(folder, "job")
    if point.path is None:
        raise Nonsense(f"the older checkpoint, which is whole, was not taken: {point.notes}")
    if point.step == 4 and hurt and hurt != b"weights" * 20:
        raise Nonsense("a damaged file was taken")
    if point.step == 4 and not hurt:
        files = json.loads((newest / "complete.json").read_text())["files"]
        must_equal("the files of a manifest", files, before["files"])


@way("attempt.json", 10, lambda rng: _text_of(rng, {"deaths": [1, 2, 2], "step": 3}))
def enter_attempt(data: bytes, folder: Path) -> None:
    """A file that cannot be read counts as a crash, and stops nothing."""
    (folder / FILE).write_bytes(data)
    with count_crashes(folder) as attempt:
        attempt.record_step(4)
        if not all(type(step) is int for step in attempt.crashes):
            raise Nonsense(f"crashes after steps {attempt.crashes}")
    assert not (folder / FILE).exists()
