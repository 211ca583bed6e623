"""Early exits in generation: the time of a token against the number of layers it goes through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings
from torch import Tensor

from formers import CausalLM, TransformerConfig
from formers.computation import EarlyExit, Last, MultinomialDepth
from formers.computation.step_record import record_steps

NOTES = (
    "float32, D=256, 8 layers of softmax attention, 8 heads, vocabulary of 96: one token after the other with "
    "`generate()`, greedily, after a prompt of 32. Every token leaves behind the same layer, which its rule knows from "
    "the first one on. The peer is the same model without a rule. With several rows, each leaves behind a layer of its "
    "own, two to eight."
)
DEPTH, TOKENS, PROMPT = 8, 64, 32


def model(leaves: Tensor | None) -> CausalLM:
    """A model whose rows leave behind these layers, (rows,); None: every layer."""
    torch.manual_seed(SEED)
    rule = Last() if leaves is None else MultinomialDepth()
    sizes = {"vocab_size": 96, "width": 256, "depth": DEPTH, "heads": 8, "context_length": 256}
    made = CausalLM(TransformerConfig(**sizes, computation=EarlyExit(rule=rule))).eval()
    if leaves is not None:
        module = made.model.computation.rule
        module.plan = lambda x_bld, mask, state: (leaves[:, None].expand(x_bld.shape[:2]), None)
    return made


def generating(made: CausalLM, rows: int) -> Callable[[], Tensor]:
    """Return a call that generates, for rows of random prompts."""
    ids = torch.randint(96, (rows, PROMPT), generator=torch.Generator().manual_seed(SEED))

    def call() -> Tensor:
        return made.generate(ids, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)

    return call


def checked(made: CausalLM, rows: int, leaves: Tensor) -> Callable[[], Tensor]:
    """Return the call, once it is clear that tokens leave where they should."""
    call = generating(made, rows)
    with record_steps() as record:
        call()
    steps = record.steps(first=1).view(-1, rows)
    if not torch.equal(steps, leaves.expand_as(steps)):
        raise RuntimeError(f"tokens left behind layers {steps.unique().tolist()}, not {leaves.tolist()}")
    return call


def rows_for(leaves: list[int], limit: float | None) -> Row:
    """Return the row that compares exits behind these layers, one a row of the batch, with every layer."""
    layers = torch.tensor(leaves)
    calls = {"early": checked(model(layers), len(leaves), layers), "every layer": generating(model(None), len(leaves))}
    times = timings(calls, repeats=5, warmup=0)
    mean = sum(leaves) / len(leaves)
    setting = f"{mean:g} of {DEPTH} layers" + (f", {len(leaves)} rows" if len(leaves) > 1 else "")
    return compared(f"generate, {TOKENS} tokens", setting, times, "early", "every layer", limit)


def main() -> None:
    torch.set_num_threads(1)
    cases: list[tuple[list[int], float | None]] = [
        ([2], 0.5),
        ([4], 0.75),
        ([6], None),
        ([8], 1.2),
        ([2, 3, 4, 5, 6, 7, 8, 3], None),
    ]
    publish("early_exit", "Early exits", NOTES, [rows_for(leaves, limit) for leaves, limit in cases])


if __name__ == "__main__":
    main()
