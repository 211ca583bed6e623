"""The phases of a mixer that are timed: a pass over the sequence, a training step, reading a prompt, the next token."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Phase: TypeAlias = Literal["forward", "training", "prefill", "step"]
PHASES: tuple[Phase, ...] = get_args(Phase)
STREAMING: tuple[Phase, ...] = ("prefill", "step")
"Phases that need a streaming state."
STEPS = 16
"Tokens in a timed run of streaming steps; one alone takes no longer than looking at the clock."
TITLES: dict[str, str] = {
    "forward": "Forward",
    "training": "Forward + backward",
    "prefill": "Prefill",
    "step": "One streaming step",
}
MEANINGS: dict[str, str] = {
    "forward": "one pass over the sequence, without gradients",
    "training": "one pass in training mode, and the gradients of the input and of every parameter",
    "prefill": "one pass over a prompt that keeps the streaming state",
    "step": f"the next token, after as many as the length says: the mean of {STEPS} in a row",
}
