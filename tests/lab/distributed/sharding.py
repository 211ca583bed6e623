"""Models that are spread over two processes, in float64: `python sharding.py studies TEXT DATABASE FOLDER`.

With `seldom` for `studies` the deaths that few tests ask for, with `parts` every part. Prints how the processes ended.

Everything heavy is imported once; the processes are forked from this one, with what torchrun would tell them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from dying import MOMENTS, Heard, begun, dies_at, in_a_process, outcome
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from formers.catalogue import members
from formers.ffn import Ffn
from formers.lab import Arm, Budget, Study, run
from formers.lab.distributed import ranks
from formers.lab.distributed.fsdp import shard
from formers.lab.train.callback import TrainingCallback
from formers.mixers import Mixer
from formers.models import CausalLM, MaskedLM, TransformerConfig
from formers.norms import Norm
from formers.part import Unsupported
from formers.positions import Position
from formers.residuals import Residual
from formers.testing.laws.ranks import free_port

ARMS = {
    "softmax": {"mixer": "softmax"},
    "reversible": {"residual": "reversible"},
    "untied": {"tie_word_embeddings": False},
    "xl": {"position": "xl"},
}

OFTEN = {"cut in a step": ("in a step", 1, True)}
SELDOM = {"cut while saving": ("while the model is saved", 0, True), "whole after": ("in a step", 1, False)}
"""Study → when it dies, which process is killed, and whether its model is spread again when it is started again."""


def study(text: str, folder: Path, arms: list[str], dropout: float, sharded: bool = True) -> Study:
    return Study(
        task=f"shakespeare(length=16, path={text!r})",
        base={
            "width": 16,
            "depth": 2,
            "heads": 2,
            "position": "learned",
            "tie_word_embeddings": True,
            "dropout": dropout,
        },
        arms=tuple(Arm(name, ARMS[name]) for name in arms),
        budget=Budget(steps=8, batch_size=4, learning_rate=1e-2, evaluations=4, clip=0.5),
        folder=folder,
        shard=sharded,
    )


class Weighed:
    """What each arm's weights and optimizer took in this process at the end, and the norms of its gradients."""

    def __init__(self) -> None:
        self.arms: dict[str, Any] = {}

    def on_train_end(
        self,
        callback: TrainingCallback,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        weights = [*given["model"].parameters()]
        moments = [t for kept in given["optimizer"].state.values() for t in kept.values() if t.dim()]
        self.arms[callback.job.arm.name] = {
            "whole": sum(w.nbytes for w in weights),
            "weights": held(weights),
            "moments": held(moments),
            "norms": [entry["grad_norm"] for entry in state.log_history if "grad_norm" in entry],
        }


def held(tensors: list[Tensor]) -> int:
    """The bytes of what this process has of some tensors."""
    return sum((t.to_local() if isinstance(t, DTensor) else t).nbytes for t in tensors)


def ran(given: Study) -> None:
    heard, weighed = Heard(), Weighed()
    TrainingCallback.on_train_end = lambda self, *values, **named: weighed.on_train_end(self, *values, **named)
    rows = run(given, heard).rows
    (given.folder / f"process-{ranks.rank()}.json").write_text(json.dumps(weighed.arms))
    if ranks.is_rank0():
        facts = {"notes": heard.notes, "rows": [outcome(row) | {"validation": row.validation} for row in rows]}
        (given.folder / "facts.json").write_text(json.dumps(facts))


def dies(given: Study, moment: str, rank: int) -> None:
    """Runs a study until one of its processes is killed."""
    if ranks.rank() == rank:
        dies_at(*MOMENTS[moment])
    ran(given)


def in_two_processes(work: Callable[[], None]) -> list[int]:
    """The signals that ended two processes which did some work together; as torchrun does, one that dies takes the
    other along."""
    port = free_port()

    def as_rank(rank: int) -> None:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ |= {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in told.items()}
        work()

    children = [begun(partial(as_rank, rank)) for rank in range(2)]
    ends = dict[int, int]()
    while len(ends) < 2:
        child, status = os.wait()
        ends[child] = os.waitstatus_to_exitcode(status)
        if ends[child]:
            for other in set(children) - set(ends):
                os.kill(other, signal.SIGKILL)
    return [ends[child] for child in children]


def same_buffers() -> None:
    """A buffer that differs between processes is the first one's after a pass in training, and stays as it is in
    evaluation."""
    with ranks.process_group():
        model = CausalLM(TransformerConfig(vocab_size=8, width=8, depth=1, heads=2, mixer="performer(features=4)"))
        shard(model)
        [buffer] = [b for name, b in model.named_buffers() if name.endswith("w_mk")]
        ids = torch.arange(8)[None]
        buffer.fill_(ranks.rank() + 1)
        model.eval()(input_ids=ids)
        assert buffer.eq(ranks.rank() + 1).all()
        model.train()(input_ids=ids)
        assert buffer.eq(1).all()


def parts() -> None:
    """Every part trains as in one process, in a causal model and in a bidirectional one."""
    axes = {"mixer": Mixer, "position": Position, "residual": Residual, "norm": Norm, "ffn": Ffn}
    choices: list[dict[str, Any]] = [{name: part()} for name, axis in axes.items() for part in members(axis)]
    choices += [{"mixer": "linformer(share='layerwise')"}, {"mixer": "performer(redraw=1)", "residual": "reversible"}]
    with ranks.process_group():
        for swaps in choices:
            for head in (CausalLM, MaskedLM):
                agree(swaps, head)


def agree(swaps: dict[str, Any], head: type[CausalLM | MaskedLM]) -> None:
    """Two steps with half of the batch in each process, and an evaluation after each, are those of a model that is
    whole."""
    base = TransformerConfig(vocab_size=31, width=24, depth=2, heads=3, context_length=32, position="learned")
    torch.manual_seed(0)
    try:
        whole, spread = (head(base.swap(**swaps)) for _ in range(2))
    except Unsupported:
        return
    spread.load_state_dict(whole.state_dict())
    shard(spread)
    ids, half = torch.randint(31, (4, 32)), slice(2 * ranks.rank(), 2 * ranks.rank() + 2)
    found = []
    for model, rows in ((whole, ids), (spread, ids[half])):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            torch.manual_seed(step)  # what is drawn for all rows is the same for both
            model.train()(input_ids=rows, labels=rows).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.inference_mode():
                found.append(model.eval()(input_ids=ids).logits)
    for wanted, got in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10, msg=f"{head.__name__}, {swaps}")


def studies(kind: str, text: str, database: Path, folder: Path) -> dict[str, Any]:
    """How the processes of each study ended."""
    report: dict[str, Any] = {}

    def made(name: str, arms: list[str], dropout: float, sharded: bool = True) -> Study:
        given = study(text, folder / name, arms, dropout, sharded)
        given.folder.mkdir(parents=True)
        shutil.copy(database, given.folder / "mlflow.db")
        return given

    if kind == "studies":
        in_a_process(partial(ran, made("alone", [*ARMS], 0.0, sharded=False)))
        report["spread"] = in_two_processes(partial(ran, made("spread", [*ARMS], 0.0)))
        report["buffers"] = in_two_processes(same_buffers)
    report["uncut"] = in_two_processes(partial(ran, made("uncut", ["softmax"], 0.1)))
    for name, (moment, rank, then) in (OFTEN if kind == "studies" else SELDOM).items():
        given = made(name, ["softmax"], 0.1)
        first = in_two_processes(partial(dies, given, moment, rank))
        report[name] = [first, in_two_processes(partial(ran, replace(given, shard=then)))]
    return report


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # another order of adding up is no excuse for a difference
    kind, *given = sys.argv[1:]
    print(json.dumps(in_two_processes(parts) if kind == "parts" else studies(kind, given[0], *map(Path, given[1:]))))


if __name__ == "__main__":
    main()
