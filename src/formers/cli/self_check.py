"""A check that models run here: one training step and a few generated tokens for mixers of each kind."""

from __future__ import annotations

import logging

CHECKED = ("softmax", "linear", "dense", "pool")
"""One mixer for each kernel that a plain model uses."""


def self_check() -> tuple[list[str], dict[str, str]]:
    """Return the forms that `impl="auto"` chose in small models of each kind, and mixer → error for those that
    failed."""
    lines = _LogLines()
    log = logging.getLogger("formers.ops")
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.DEBUG)
    failures: dict[str, str] = {}
    try:
        for mixer in CHECKED:
            try:
                check(mixer)
            except Exception as error:  # whatever breaks here is the finding
                failures[mixer] = f"{type(error).__name__}: {error}"
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
    return list(dict.fromkeys(lines.texts)), failures


def check(mixer: str) -> None:
    """Train a tiny model for a step, and let it write. Raise ArithmeticError if the result is not finite."""
    import torch

    from formers.models import CausalLM, TransformerConfig

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = TransformerConfig(
            vocab_size=16, width=32, depth=1, heads=2, context_length=64, mixer=mixer, position="sinusoidal"
        )
        model = CausalLM(config).to("cuda" if torch.cuda.is_available() else "cpu")
        ids = torch.randint(0, 16, (2, 24), device=model.device)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if not loss.isfinite() or not grads or not all(grad.isfinite().all() for grad in grads):
        raise ArithmeticError("the loss or a gradient is not finite")


class _LogLines(logging.Handler):
    """Keeps the messages that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
