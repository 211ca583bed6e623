"""Generation in which tokens stop early: a token costs nothing in the steps that none of its batch takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.harness import SEED, Row, compared, publish, timings
from torch import Tensor, nn

from formers import CausalLM, TransformerConfig
from formers.computation import StackInput
from formers.models import steps_taken

DEPTH, SEEN, NEW = 8, 256, 16
NOTES = (
    f"float32, width 512, 8 heads, softmax, up to {DEPTH} steps of one layer; {NEW} tokens one after the other, from a "
    f"cache of {SEEN}. When a token stops is chosen beforehand, the same for all that follow it, and counted before "
    "anything is timed; logits are compared with those of one pass. `universal()` takes all steps. Tokens that stopped "
    "early wait, and are made up for at once when a later one goes farther: one in 16 goes to the last step. In the "
    "mixed batch one row of four does, the others stop at the first."
)


class Chosen(nn.Module):
    """A halting unit by which each token of a row stops at a step that was chosen beforehand, (B, L)."""

    def __init__(self, steps_bl: Tensor):
        super().__init__()
        self.steps_bl, self.at, self.step = steps_bl, 0, 0

    def begin(self, module: nn.Module, args: tuple[Any, StackInput]) -> None:
        """Note where a pass begins."""
        self.at, self.step = int(args[1].positions_bl[0, 0]), 0

    def forward(self, state_bld: Tensor) -> Tensor:
        """Return 1 where a token stops, else 0."""
        self.step += 1
        return (self.steps_bl[:, self.at : self.at + state_bld.shape[1]] <= self.step).float()


def model(computation: str, steps_bl: Tensor | None = None) -> CausalLM:
    """Return a model whose tokens take these steps; the same weights for all."""
    torch.manual_seed(SEED)
    config = TransformerConfig(
        vocab_size=256, width=512, depth=DEPTH, heads=8, position="none", computation=computation, context_length=512
    )
    made = CausalLM(config).eval()
    if steps_bl is not None:
        stack = made.model.computation
        stack.halting = Chosen(steps_bl)
        stack.register_forward_pre_hook(stack.halting.begin)
    return made


def generation(made: CausalLM, ids: Tensor) -> Callable[[], list[Tensor]]:
    """Return a call that feeds the new tokens one by one, always from the same cache; and its logits."""
    layers = made(ids[:, :SEEN], use_cache=True).past_key_values.layers
    start = [layer.state for layer in layers]

    def call() -> list[Tensor]:
        cache = made(ids[:, :1], use_cache=True).past_key_values
        for layer, state in zip(cache.layers, start, strict=True):
            layer.state, layer.length = state, SEEN
        return [made(ids[:, i : i + 1], past_key_values=cache).logits for i in range(SEEN, SEEN + NEW)]

    return call


def rows_of(case: str, steps_bl: Tensor, limit: float) -> Row:
    """Return the time of generation in which tokens take these steps, against all steps for each."""
    ids = torch.randint(256, steps_bl.shape, generator=torch.Generator().manual_seed(SEED))
    ours, all_steps = model("act()", steps_bl), model("universal()")
    assert torch.equal(steps_taken(ours, ids, use_cache=False), steps_bl), "tokens stop as chosen"
    call = generation(ours, ids)
    whole = ours(ids, use_cache=False).logits[:, SEEN:]
    torch.testing.assert_close(torch.cat(call(), 1), whole, rtol=1e-3, atol=1e-4)
    times = timings({"act()": call, "universal()": generation(all_steps, ids)}, repeats=5)
    mean = steps_bl[:, SEEN:].double().mean()
    return compared(f"act, {case}", f"{mean:.3g} of {DEPTH} steps", times, "act()", "universal()", limit)


@torch.no_grad()
def main() -> None:
    """Measure, and write the results."""
    torch.manual_seed(SEED)
    length = SEEN + NEW
    rows = [
        rows_of(f"each stops at step {n}", torch.full((1, length), n), limit)
        for n, limit in ((1, 0.25), (2, 0.4), (4, 0.8), (DEPTH, 1.2))
    ]
    some = torch.where(torch.arange(length) % 16 == 15, DEPTH, 1)[None]
    rows.append(rows_of("one in 16 goes on", some, 0.5))
    rows.append(rows_of("a mixed batch of 4", torch.tensor([DEPTH, 1, 1, 1])[:, None].repeat(1, length), 1.0))
    publish("act", "Tokens that stop early", NOTES, rows)


if __name__ == "__main__":
    main()
