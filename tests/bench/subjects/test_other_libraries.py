"""Other libraries’ mixers, where they are installed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from formers.bench.measuring.run_bench import run_bench
from formers.bench.plan import BenchPlan
from formers.bench.results import BenchResults, Measurement
from formers.bench.sizes import Sweep

Small = Callable[..., BenchPlan]


def rows_of(bench: BenchResults, subject: str) -> list[Measurement]:
    return [row for row in bench.rows if row.subject == subject]


@pytest.mark.usefixtures("lawful")
@pytest.mark.parametrize("package", ["local-attention", "performer-pytorch", "reformer-pytorch", "linformer"])
def test_peers_run_where_they_are_installed(small: Small, package: str) -> None:
    pytest.importorskip(package.replace("-", "_"))
    sweep = Sweep(length=(128,), width=(32,), heads=(2,))
    bench = run_bench(small(f"pip:{package}", phases=("forward", "training"), causal=False, sweep=sweep))
    assert [row.status for row in rows_of(bench, f"pip:{package}")] == ["measured", "measured"]


@pytest.mark.usefixtures("lawful")
def test_what_is_not_there_is_a_row(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formers.bench.subjects.other_libraries.find_spec", lambda name: None)
    bench = run_bench(small("identity", "fourier", "pip:local-attention", phases=("forward",)))
    [missing], [unsupported] = rows_of(bench, "pip:local-attention"), rows_of(bench, "fourier")
    assert (missing.status, missing.cause) == ("missing", "not installed: pip install local-attention")
    assert unsupported.status == "unsupported"
    assert "causal" in unsupported.cause
