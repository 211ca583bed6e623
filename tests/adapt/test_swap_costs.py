"""Tables of what swaps cost, and plans made from them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt import use_attention
from formers.adapt.swap_costs import Swap, mean_nats, swap_costs
from formers.adapt.swap_plan import SwapBudget, plan_swaps, state_bytes_per_layer
from formers.mixers import Mixer
from formers.part import Unsupported

from .families import DEAF, DECODERS, VOCABULARY, made

WINDOW, SINKS = "sparse(pattern=window(4))", "sparse(pattern=window(4) | sinks(2))"


def ids() -> Tensor:
    return torch.randint(3, VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(0))


def test_each_line_is_the_model_with_that_swap() -> None:
    model = made(DECODERS["llama"])
    own = mean_nats(model, ids())
    swaps = swap_costs(model, ids(), ["window(4)", "window(4) | sinks(2)"])
    assert [(s.mixer, s.layers) for s in swaps] == [
        ("", ()),
        *((mixer, layers) for mixer in (WINDOW, SINKS) for layers in ((0, 1), (0,), (1,))),
    ]
    assert swaps[0].nats == own == mean_nats(model, ids())  # its own attention again
    assert swaps[2].nats == mean_nats(use_attention(made(DECODERS["llama"]), ["window(4)", "softmax()"]), ids())
    assert swaps[1].nats == mean_nats(use_attention(made(DECODERS["llama"]), "window(4)"), ids())


def test_what_can_be_refused_is_before_the_first_measurement() -> None:
    model, never = made(DECODERS["llama"]), lambda done, total: pytest.fail("something was measured")
    with pytest.raises(Unsupported, match=r"windowed_linear\(\) cannot stand in"):
        swap_costs(model, ids(), ["window(4)", "windowed_linear()"], progress=never)
    assert model.config._attn_implementation == "sdpa"
    for wrong in (ids()[0], ids()[:, :1]):
        with pytest.raises(ValueError, match=r"expected \(batch, length\) with 2 tokens a row or more"):
            swap_costs(model, wrong, ["window(4)"], progress=never)
    assert len(swap_costs(model, ids(), "window(4)", layers=[])) == 2


def test_measurements_are_kept_and_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, done = tmp_path / "sub" / "swaps.jsonl", list[int]()

    def stop(number: int, total: int) -> None:
        done.append(number)
        if number == 2:
            raise KeyboardInterrupt

    model = made(DECODERS["llama"])
    with pytest.raises(KeyboardInterrupt):
        swap_costs(model, ids(), ["window(4)"], file=file, progress=stop)
    assert model.config._attn_implementation == "sdpa"
    with file.open("a") as half:
        half.write('{"mixer": "sparse(patt')  # as a process that is killed leaves it
    went_on = swap_costs(model, ids(), ["window(4)"], file=file)
    assert went_on == swap_costs(model, ids(), ["window(4)"])
    assert len(file.read_text().splitlines()) == 1 + len(went_on)
    monkeypatch.setattr("formers.adapt.swap_costs.mean_nats", None)  # nothing is measured twice
    assert swap_costs(model, ids(), ["window(4)"], file=file) == went_on


def test_foreign_and_damaged_files_are_refused(tmp_path: Path) -> None:
    file, model = tmp_path / "swaps.jsonl", made(DECODERS["llama"])
    swap_costs(model, ids(), [], file=file)
    with pytest.raises(ValueError, match="another model or other tokens"):
        swap_costs(model, ids() + 1, [], file=file)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    with pytest.raises(ValueError, match="another model or other tokens"):
        swap_costs(model, ids(), [], file=file)
    file.write_text("{]\n")
    with pytest.raises(ValueError, match="damaged"):
        swap_costs(model, ids(), [], file=file)
    with pytest.raises(ValueError, match="layers 0 to 1, but 2"):
        swap_costs(model, ids(), ["window(4)"], layers=[2])
    with pytest.raises(Unsupported, match="ignores it"):
        swap_costs(made(DEAF["bloom"]), ids(), ["window(4)"])


SWAPS = [Swap("", (), 2.0), *(Swap(WINDOW, (i,), n) for i, n in enumerate([2.5, 2.01, 2.1]))]
BYTES = {"softmax()": 100, WINDOW: 10}


@pytest.mark.parametrize(
    ("budget", "swapped"),
    [
        (SwapBudget(8, state_bytes=300), ()),
        (SwapBudget(8, state_bytes=299), (1,)),
        (SwapBudget(8, state_bytes=120), (1, 2)),
        (SwapBudget(8, state_bytes=30), (0, 1, 2)),
        (SwapBudget(8, added_nats=0.005), ()),
        (SwapBudget(8, added_nats=0.11), (1, 2)),
        (SwapBudget(8, added_nats=10.0), (0, 1, 2)),
    ],
)
def test_a_plan_takes_the_cheapest_layers_first(budget: SwapBudget, swapped: tuple[int, ...]) -> None:
    plan = plan_swaps(SWAPS, BYTES, budget)
    assert plan.mixers == tuple(Mixer.parse(WINDOW if i in swapped else "softmax()") for i in range(3))
    assert plan.state_bytes == 300 - 90 * len(swapped)
    assert plan.added_nats == pytest.approx(sum((0.5, 0.01, 0.1)[i] for i in swapped))


def test_a_budget_that_cannot_be_met_says_what_can() -> None:
    with pytest.raises(ValueError, match="holds 30 bytes a row after 8 tokens, and 29 were asked for"):
        plan_swaps(SWAPS, BYTES, SwapBudget(8, state_bytes=29))
    assert SwapBudget.parse("1.5MB at 8k") == SwapBudget(8192, state_bytes=3 << 19)
    assert SwapBudget.parse("state 1.5MB at 8k") == SwapBudget.parse("1.5MB at 8k")
    assert SwapBudget.parse("+2% perplexity") == SwapBudget.parse("+2% perplexity at 8k")
    assert SwapBudget.parse("+2% perplexity at 100").added_nats == pytest.approx(math.log(1.02))
    for text in (
        "1MB",
        "state 1MB",
        "state +2% perplexity",
        "8k",
        "-2% perplexity at 8k",
        "1 TB at 8k",
        "1MB at 0",
        "1MB at 8k "[:-1] + "k",
    ):
        with pytest.raises(ValueError, match="expected like"):
            SwapBudget.parse(text)


@pytest.mark.parametrize(("mixer", "numbers"), [("softmax()", 2 * 2 * 50 * 8), ("linear()", 4 * (8 * 8 + 8))])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_state_bytes_are_counted(mixer: str, numbers: int, dtype: torch.dtype) -> None:
    counted = state_bytes_per_layer(made(DECODERS["llama"]).to(dtype), Mixer.parse(mixer), 50)
    size = dtype.itemsize if mixer == "softmax()" else max(4, dtype.itemsize)  # sums are float32 at least
    assert counted == size * numbers + 8  # and the number of tokens seen


def test_every_line_of_the_file_is_json(tmp_path: Path) -> None:
    swap_costs(made(DECODERS["llama"]), ids(), ["window(4)"], layers=[1], file=tmp_path / "swaps.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "swaps.jsonl").read_text().splitlines()]
    assert set(lines[0]) == {"model", "tokens"}
    assert [line["layers"] for line in lines[1:]] == [[], [0, 1], [1]]


def test_what_fails_in_the_middle_is_a_row(tmp_path: Path) -> None:
    model, file, calls = made(DECODERS["llama"]), tmp_path / "swaps.jsonl", list[str]()

    def score(model: PreTrainedModel, ids_bl: Tensor) -> float:
        calls.append(model.config._attn_implementation)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return math.nan if len(calls) == 3 else mean_nats(model, ids_bl)

    swaps = swap_costs(model, ids(), ["window(4)"], file=file, score=score)
    assert [swap.failure for swap in swaps] == ["", "out of memory", "the loss is nan", ""]
    assert json.loads(file.read_text().splitlines()[2])["nats"] is None
    plan = plan_swaps(swaps, {"softmax()": 100, WINDOW: 10}, SwapBudget(8, added_nats=1e9))
    assert [str(mixer) for mixer in plan.mixers] == ["softmax()", WINDOW]
    again = swap_costs(model, ids(), ["window(4)"], file=file, score=score)
    assert [swap.failure for swap in again] == [""] * 4
    assert len(calls) == 6  # the two that failed, once more
    with pytest.raises(ValueError, match="another model or other tokens"):
        swap_costs(model, ids(), ["window(4)"], file=file)  # another loss


def test_a_model_that_cannot_be_measured_itself_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of 24 tokens .* give shorter rows"):
        swap_costs(made(DECODERS["llama"]), ids(), [], score=lambda model, ids: math.inf)
