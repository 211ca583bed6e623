"""Which form of an op runs, and what is said where none can."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

import formers.ops  # noqa: F401 (whose ops register their forms)
from formers.ops.common.dispatch import Form, FormEntry, Forms, forms_table


class Numbers(NamedTuple):
    a: int
    b: int


@pytest.fixture
def forms():
    made = Forms(
        "sum of two",
        Form("small", lambda a, b: ("small", a + b), lambda n: ["a is beyond 9", "it is odd"] if n.a > 9 else []),
        Form("table", lambda a, b: ("table", a + b), slow_reasons=lambda n: ["b is beyond 9"] if n.b > 9 else []),
        Form("large", lambda a, b: ("large", a + b), lambda n: ["a is beyond 99"] if n.a > 99 else []),
        Form("naive", lambda a, b: ("naive", a + b)),
        preference={"cpu": ["small", "table", "large"], "cuda": ["large", "table"]},
    )
    yield made
    del Forms.registry["sum of two"]


CPU, CUDA, XPU = (torch.device(kind) for kind in ("cpu", "cuda", "xpu"))


@pytest.mark.parametrize(
    ("impl", "numbers", "device", "chosen"),
    [
        ("auto", Numbers(1, 2), CPU, "small"),
        ("auto", Numbers(10, 2), CPU, "table"),
        ("auto", Numbers(10, 20), CPU, "large"),
        ("auto", Numbers(1, 2), CUDA, "large"),
        ("auto", Numbers(100, 2), CUDA, "table"),
        ("auto", Numbers(1, 2), XPU, "small"),
        ("naive", Numbers(100, 200), CPU, "naive"),
        ("table", Numbers(1, 200), CPU, "table"),
    ],
)
def test_the_first_that_can_runs(forms, impl, numbers, device, chosen):
    assert forms.run(impl, numbers, device) == (chosen, sum(numbers))


@pytest.mark.parametrize(
    ("impl", "numbers", "message"),
    [
        ("fast", Numbers(1, 2), "no impl 'fast'; available: 'auto', 'small', 'table', 'large', 'naive'"),
        ("small", Numbers(10, 2), "impl 'small' cannot run on these inputs: a is beyond 9; it is odd"),
        ("auto", Numbers(100, 20), "no form on cpu for these inputs: small: a is beyond 9; it is odd. table: b is"),
    ],
)
def test_what_cannot_run_says_why(forms, impl, numbers, message):
    with pytest.raises(ValueError, match=message):
        forms.run(impl, numbers, CPU)


@pytest.mark.parametrize(
    ("preference", "message"),
    [
        ({"cpu": ["fast"]}, "the preference names \\['fast'\\]; the forms are slow"),
        ({"cuda": ["slow"]}, "no list for 'cpu'"),
    ],
)
def test_a_preference_names_forms_for_every_device(preference, message):
    with pytest.raises(ValueError, match=message):
        Forms("nothing", Form("slow", lambda: None), preference=preference)
    assert "nothing" not in Forms.registry


def test_the_table_tells_what_auto_tries(forms):
    table = [entry for entry in forms_table() if entry.op == "sum of two"]
    assert table == [
        FormEntry("sum of two", "small", {"cpu": 1}),
        FormEntry("sum of two", "table", {"cpu": 2, "cuda": 2}),
        FormEntry("sum of two", "large", {"cpu": 3, "cuda": 1}),
        FormEntry("sum of two", "naive", {}),
    ]


def test_every_op_has_a_naive_form_that_runs_on_request_only():
    entries = {(entry.op, entry.form): entry.order for entry in forms_table()}
    for op in ("attention", "sparse_attention", "fourier_mix", "pool_mix"):
        assert entries[op, "naive"] == {}
        assert any(order.get("cpu") == 1 for (name, _), order in entries.items() if name == op)
