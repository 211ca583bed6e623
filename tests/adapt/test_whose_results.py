"""What is kept in a folder belongs to one call: whatever else is asked for there is refused, not answered from it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from formers import CausalLM, TransformerConfig
from formers.adapt import use_attention
from formers.adapt.json_lines import hash_of_model
from formers.adapt.repair import distill, transfer_attention
from formers.adapt.repair_run import RepairPlan, repair_model
from formers.adapt.streamed_transfer import stream_transfer
from formers.adapt.swap_costs import swap_costs
from formers.adapt.swap_speed import swap_speeds
from formers.lab.study.budget import Budget
from formers.models import convert_weights

from .families import GROUPED, VOCABULARY, made


def tokens(rows: int, seed: int) -> Tensor:
    return torch.randint(3, 20, (rows, 16), generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Given:
    """What a repair is given."""

    mixer: str = "window(4)"
    position: str = "rotary()"
    changed: str = ""
    text: int = 1
    held_out: int = 2
    rate: float = 1e-3
    seed: int = 0

    def models(self) -> tuple[CausalLM, CausalLM]:
        torch.manual_seed(0)
        sizes = {"vocab_size": 300, "width": 16, "depth": 2, "heads": 2, "context_length": 32}
        teacher = CausalLM(TransformerConfig(**sizes, position=self.position)).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            student = convert_weights(teacher, teacher.config.swap(mixer=self.mixer)).model.eval()
        for name, model in {"teacher": teacher, "student": student}.items():
            if name == self.changed:
                with torch.no_grad():
                    model.get_input_embeddings().weight[1, 7] += 0.5  # one number of 4,800
        return teacher, student

    @property
    def budget(self) -> Budget:
        return Budget(steps=2, batch_size=2, learning_rate=self.rate)


def whole(given: Given, folder: Path) -> object:
    plan = RepairPlan(transfer=given.budget, seed=given.seed)
    return repair_model(*given.models(), tokens(4, given.text), tokens(4, given.held_out), folder, plan)


def streamed(given: Given, folder: Path) -> object:
    return stream_transfer(*given.models(), tokens(4, given.text), folder, given.budget, seed=given.seed)


def transferred(given: Given, folder: Path) -> object:
    return transfer_attention(*given.models(), tokens(4, given.text), folder, given.budget, seed=given.seed)


def distilled(given: Given, folder: Path) -> object:
    held = tokens(2, given.held_out)
    return distill(*given.models(), tokens(4, given.text), folder, given.budget, seed=given.seed, held_out_nl=held)


CALLS: dict[str, Callable[[Given, Path], object]] = {
    "repair_model": whole,
    "stream_transfer": streamed,
    "transfer_attention": transferred,
    "distill": distilled,
}
WITHOUT_HELD_OUT = {"stream_transfer", "transfer_attention"}
GIVEN = Given()
OTHERS = {
    "mixer": replace(GIVEN, mixer="window(8)"),
    "positions": replace(GIVEN, position="rotary(base=500)"),
    "teacher": replace(GIVEN, changed="teacher"),
    "student": replace(GIVEN, changed="student"),
    "text": replace(GIVEN, text=3),
    "held-out text": replace(GIVEN, held_out=4),
    "learning rate": replace(GIVEN, rate=1e-6),
    "seed": replace(GIVEN, seed=5),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_folder_answers_the_same_repair_alone(call: str, tmp_path: Path) -> None:
    first = CALLS[call](GIVEN, tmp_path)
    assert CALLS[call](GIVEN, tmp_path) == first
    refused = {what for what, other in OTHERS.items() if "another repair" in refusal(call, other, tmp_path)}
    assert refused == OTHERS.keys() - ({"held-out text"} if call in WITHOUT_HELD_OUT else set())


def refusal(call: str, given: Given, folder: Path) -> str:
    """Return why a folder does not take a call; nothing if it does."""
    try:
        CALLS[call](given, folder)
    except ValueError as error:
        return str(error)
    return ""


def test_checkpoints_are_those_of_one_repair_and_of_one_kind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    budget, seen = replace(GIVEN.budget, steps=8), list[int]()
    with pytest.raises(KeyboardInterrupt):
        distill(*GIVEN.models(), tokens(4, 1), tmp_path, budget, progress=stop)
    assert any(tmp_path.glob("checkpoint-*"))
    for rows, other in ((tokens(4, 3), budget), (tokens(4, 1), replace(budget, learning_rate=1e-6))):
        with pytest.raises(ValueError, match="another repair"):
            distill(*GIVEN.models(), rows, tmp_path, other)
    with pytest.raises(ValueError, match="another repair"):
        transfer_attention(*GIVEN.models(), tokens(4, 1), tmp_path, budget)
    distill(*GIVEN.models(), tokens(4, 1), tmp_path, budget, progress=lambda done, total: seen.append(done))
    assert min(seen) > 1
    (tmp_path / "repair.jsonl").unlink()
    with pytest.raises(ValueError, match="nothing tells of which repair"):
        distill(*GIVEN.models(), tokens(4, 1), tmp_path, budget)


def test_hidden_states_without_a_file_that_tells_whose_they_are_go_away(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    for given in (replace(GIVEN, changed="teacher"), replace(GIVEN, position="rotary(base=500)")):
        with pytest.raises(KeyboardInterrupt):
            stream_transfer(*given.models(), tokens(4, 1), tmp_path, GIVEN.budget, progress=stop)
        (tmp_path / "layers.jsonl").unlink()
    assert streamed(GIVEN, tmp_path) == streamed(GIVEN, tmp_path / "fresh")


def llama(theta: float = 1e4) -> PreTrainedModel:
    rope = {"rope_type": "default", "rope_theta": theta}
    return made(lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=rope)))


def changed(model: PreTrainedModel) -> PreTrainedModel:
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] += 1
    return model


OTHER_MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "positions": lambda: llama(100.0),
    "one number": lambda: changed(llama()),
    "a mixer": lambda: use_attention(llama(), "window(2)"),
    "dtype": lambda: llama().float(),
}


@pytest.mark.parametrize("what", OTHER_MODELS)
def test_measurements_of_another_model_are_refused(what: str, tmp_path: Path) -> None:
    costs, speeds = tmp_path / "costs.jsonl", tmp_path / "speeds.jsonl"
    ids = torch.randint(3, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))
    swap_costs(llama(), ids, [], file=costs)
    swap_speeds(llama(), [], [8], file=speeds)
    with pytest.raises(ValueError, match="another model"):
        swap_costs(OTHER_MODELS[what](), ids, [], file=costs)
    with pytest.raises(ValueError, match="another model"):
        swap_speeds(OTHER_MODELS[what](), [], [8], file=speeds)


def test_what_changes_nothing_makes_no_other_model(tmp_path: Path) -> None:
    model = llama()
    want = hash_of_model(model)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager")
    assert hash_of_model(loaded) == want  # though it has a name, and computes its attention in another way
