"""Every law rejects the faults it exists for: a law that cannot fail proves nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from faults.options import option_never_arrives
from planting import FAULTS, Patch, spoiled
from torch import Tensor, nn

from formers.mixers import Pool, Softmax
from formers.part import Part
from formers.testing import ANYWHERE, LAWS, SITE, SLOW_LAWS, broken_laws, check, keeps_laws, laws, laws_of, sites_of
from formers.testing.laws import idle


@pytest.fixture(autouse=True)
def _no_faulty_results_are_kept() -> Iterator[None]:
    """Forget what laws remember of parts: here it is of parts with faults."""
    yield
    for remembered in (idle._run, idle._change):
        remembered.cache_clear()


def try_everywhere(law: Any, part: Part) -> None:
    for site in [SITE] if law in ANYWHERE else sites_of(part):
        law(part, site)


@pytest.mark.parametrize(("law", "make"), FAULTS.values(), ids=list(FAULTS))
def test_the_law_rejects_the_fault(law: Any, make: Any, monkeypatch: Patch) -> None:
    part = make(monkeypatch)
    with pytest.raises((AssertionError, ValueError, RuntimeError, NotImplementedError, AttributeError)) as caught:
        try_everywhere(law, part)
    if law not in (
        laws.costs_as_promised,
        laws.one_pass_equals_pieces,
        laws.runs_under_autocast,
        laws.states_cross_autocast,
        laws.materialises_from_meta,
        laws.builds_in_bfloat16,
    ):  # where a crash is the answer
        assert caught.type is AssertionError, f"crashed instead of explaining: {caught.value!r}"


def test_every_law_has_a_fault() -> None:
    assert set(LAWS) <= {law for law, _ in FAULTS.values()} <= set(LAWS | SLOW_LAWS)


def test_a_graph_break_is_found() -> None:
    def break_off(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        torch._dynamo.graph_break()
        return y, state

    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        laws.traces_whole(spoiled(Softmax(), break_off))


def test_a_part_answers_for_itself(monkeypatch: Patch) -> None:
    only = [laws.every_option_counts, laws.same_as_reference]
    monkeypatch.setattr(sys.modules[laws_of.__module__], "LAWS", {law: LAWS[law] for law in only})
    assert keeps_laws(Pool(), site=SITE)
    deaf = option_never_arrives(monkeypatch)
    assert not keeps_laws(deaf, site=SITE)
    broken = broken_laws(deaf, only=only)
    assert broken.keys() == {"every_option_counts"}
    assert "window" in broken["every_option_counts"]
    with pytest.raises(AssertionError, match=r"breaks 1 of 2 laws:\n  every_option_counts: "):
        check(deaf, only=only)
