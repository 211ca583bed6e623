"""Costs against hand counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from formers import CausalLM, MaskedLM, SequenceClassifier
from formers.catalogue import members
from formers.mixers import (
    AdaptiveSpan,
    BlockwiseAttention,
    Linear,
    Metric,
    Mixer,
    Pool,
    Quadratic,
    Softmax,
    Sparse,
    WindowedLinear,
)
from formers.ops import OperationCount
from formers.ops.attention import query_blocks
from formers.part import Site
from formers.patterns import Window
from formers.positions import Alibi, Position, Shaw, Xl

D, H, K, V, L, DEPTH = 24, 3, 8, 29, 64, 2
MLP = 2 * 2 * D * 4 * D
"""Two products, 2·m·n·k each."""


def flops(config: Any, **choices: Any) -> float:
    return CausalLM(config(**choices)).flops_per_token(L)


def test_softmax_and_mlp(config: Any) -> None:
    projections, pairs = 4 * 2 * D * D, 2 * 2 * L * D
    assert flops(config, mixer=Softmax(), position="none") == DEPTH * (projections + pairs + MLP) + 2 * D * V


def test_grouped_heads_save_projections_only(config: Any) -> None:
    saved = 2 * 2 * D * (D - K) * DEPTH
    assert flops(config) - flops(config, mixer=Softmax(kv_heads=1)) == saved


def test_quadratic_and_metric(config: Any) -> None:
    quadratic = 2 * D * H * D + 2 * 2 * D * D + 2 * L * H * (D + K)
    # the fused kernel takes keys and values of one width, so values are filled up or keys counted as they are
    got = (flops(config, mixer=Quadratic(), position="none") - 2 * D * V) / DEPTH - MLP
    assert quadratic <= got <= quadratic + 2 * L * H * (D - K)
    metric = 2 * 2 * D * D + 2 * H * K * K + 2 * 2 * L * D
    assert (flops(config, mixer=Metric(), position="none") - 2 * D * V) / DEPTH - MLP == metric


def test_a_pool_has_no_products(config: Any) -> None:
    assert flops(config, mixer=Pool(), position="none") == DEPTH * MLP + 2 * D * V


def test_heads_differ_by_their_last_product(config: Any) -> None:
    masked = MaskedLM(config(position="none")).flops_per_token(L)
    classes = SequenceClassifier(config(position="none", num_labels=5)).flops_per_token(L)
    assert masked - classes == pytest.approx(2 * D * V - 2 * D * 5 / L)


def test_linear_costs_the_same_per_token_at_any_length(config: Any) -> None:
    model = CausalLM(config(mixer=Linear(), position="none"))
    assert model.flops_per_token(256) == pytest.approx(model.flops_per_token(1024), rel=0.02)


@pytest.mark.parametrize(
    ("mixer", "numbers"),
    [
        (Softmax(), 2 * H * K),
        (Softmax(kv_heads=1), 2 * K),
        (Metric(), H * K),
        (Quadratic(), D + H * K),
        (Linear(), 0),
        (Pool(), 0),
    ],
    ids=str,
)
def test_bytes_a_token_leaves_behind(config: Any, mixer: Mixer, numbers: int) -> None:
    model = CausalLM(config(mixer=mixer, position="none"))
    assert model.state_bytes_per_token(L) == DEPTH * numbers * 4
    assert model.bfloat16().state_bytes_per_token(L) in (DEPTH * numbers * 2, DEPTH * numbers * 4)


@pytest.mark.parametrize("mixer", [kind() for kind in members(Mixer)], ids=str)
def test_states_grow_as_the_time_does(config: Any, mixer: Mixer) -> None:
    if "causal" not in mixer.abilities:
        assert MaskedLM(config(mixer=mixer, position="none")).state_bytes_per_token(L) is None
        return
    grown = CausalLM(config(mixer=mixer, position="none")).state_bytes_per_token(L)
    if "streaming" not in mixer.abilities:
        assert grown is None
    elif mixer.growth() <= 1:
        assert grown == 0, "linear time means a state of fixed size"
    elif not isinstance(mixer, AdaptiveSpan):  # grows as its whole span; its state holds what heads have learnt of it
        assert grown > 0


def test_counting_leaves_the_model_alone(config: Any) -> None:
    model = CausalLM(config()).train()
    model.flops_per_token(L)
    assert model.training
    assert model.device.type == "cpu"
    with pytest.raises(ValueError, match="length must be at least 2"):
        model.state_bytes_per_token(1)
    with pytest.raises(ValueError, match="length must be at least 1, but 0 was given"):
        model.flops_per_token(0)


class OperatorCalls(TorchDispatchMode):
    """Count the operators that run, whatever they compute."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return operator(*args, **(kwargs or {}))


def test_counting_a_state_of_fixed_size_takes_no_longer_for_long_texts(config: Any) -> None:
    calls = list[int]()
    for length in (512, 4096):
        model = CausalLM(config(mixer=WindowedLinear(), position="none", context_length=4096)).to("meta").eval()
        with OperatorCalls() as count:
            model.state_bytes(length)
            model.flops_per_token(length)
        calls.append(count.calls)
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    ("part", "causal", "a_block"),
    [
        (AdaptiveSpan(), True, 20),
        (AdaptiveSpan(dynamic=True), True, 40),
        (AdaptiveSpan(), False, 0),
        (AdaptiveSpan(dynamic=True), False, 0),
        (BlockwiseAttention(), False, 5),
        (Sparse(pattern=Window(512)), True, 3),
    ],
    ids=str,
)
def test_blocks_of_one_size_are_counted_as_one_and_others_in_few_operators(
    part: Mixer, causal: bool, a_block: int
) -> None:
    calls = list[int]()
    lengths = (2048, 4096)
    for length in lengths:
        site = Site(width=16, heads=4, causal=causal, context_length=4096)
        with torch.device("meta"):
            module: Any = part.build(site).eval()
            x = torch.empty(1, length, 16)
        with torch.no_grad(), OperatorCalls() as count:
            module(x)
        calls.append(count.calls)
    assert calls[1] - calls[0] <= a_block * (lengths[1] - lengths[0]) / 128


@pytest.mark.parametrize("position", [Alibi(), Shaw(), Xl()], ids=str)
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("rows", [156, 160, 176], ids=["some left over", "an even number", "an odd number"])
def test_blocks_of_rows_in_the_middle_count_for_all(
    monkeypatch: pytest.MonkeyPatch, position: Position, causal: bool, rows: int
) -> None:
    monkeypatch.setattr(query_blocks, "SCORES_AT_ONCE", 16)
    counts, calls = list[int](), list[int]()
    for mode in (torch.enable_grad, torch.no_grad):  # with gradients every block runs
        with torch.device("meta"):
            site = Site(width=16, heads=2, causal=causal, context_length=rows, position=position)
            module: Any = Softmax().build(site).eval()
            x = torch.empty(1, rows, 16)
        with mode(), OperatorCalls() as operators, OperationCount() as counted:
            module(x)
        counts.append(counted.total)
        calls.append(operators.calls)
    assert counts[0] == counts[1]
    assert calls[1] < calls[0] / 2


@pytest.mark.parametrize(
    "part", [AdaptiveSpan(span=100, dynamic=True, init=0.9), BlockwiseAttention(), Sparse(pattern=Window(90))], ids=str
)
def test_blocks_without_data_count_as_with_data(part: Mixer) -> None:
    module: Any = part.build(Site(width=16, heads=2, causal=False, context_length=1100)).eval()
    totals = list[int]()
    for device in ("cpu", "meta"):
        x = torch.zeros(2, 1100, 16, device=device)
        with torch.no_grad(), OperationCount() as counted:
            y, _ = module.to(device)(x)
        assert y.shape == x.shape
        totals.append(counted.total)
    assert totals[0] == totals[1]


@pytest.mark.parametrize(
    "part", [WindowedLinear(window=40), AdaptiveSpan(span=100, dynamic=True), Sparse(pattern=Window(90))], ids=str
)
@pytest.mark.parametrize("length", [64, 130, 512, 1100])
def test_pieces_without_data_count_as_with_data(part: Mixer, length: int) -> None:
    module: Any = part.build(Site(width=16, heads=2, causal=True, context_length=2048)).eval()
    found = dict[str, list[Any]](cpu=[], meta=[])
    for device, counts in found.items():
        module.to(device)
        x = torch.zeros(1, length, 16, device=device)
        with torch.no_grad():
            before = [module(x[:, :200])[1], *([None] if isinstance(part, WindowedLinear) else [])]
            for state in before:
                with OperationCount() as counted:
                    y, after = module(x, state)
                counts.append((counted.total, y.shape, [(t.shape, t.dtype) for t in after.tensors()]))
    assert found["cpu"] == found["meta"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mixer", [Softmax(), Sparse(pattern=Window(8)), Linear()])
def test_states_are_counted_in_the_precision_of_the_model(mixer: Mixer, dtype: torch.dtype, config: Any) -> None:
    model = CausalLM(config(mixer=mixer)).to(dtype).eval()
    with torch.no_grad():
        held = model(torch.zeros(1, L, dtype=torch.long), use_cache=True).past_key_values.nbytes
    assert model.state_bytes(L) == held
