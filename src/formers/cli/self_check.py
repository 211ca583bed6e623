"""A check that parts run here: a training step and a streaming step for mixers of each kind."""

from __future__ import annotations

import logging

CHECKED = ("softmax", "linear", "dense", "pool")
"""One mixer for each kernel that a plain model uses."""


def self_check() -> tuple[list[str], dict[str, str]]:
    """Return the forms that `impl="auto"` chose in small mixers of each kind, and mixer → error for those that
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
    """Train a small causal mixer for a step, and let it go on by a token. Raise ArithmeticError for what is not finite.

    Mixers alone, without a model around them: transformers takes longer to load than all of this.
    """
    import torch

    from formers.mixers import Mixer
    from formers.part import Site, seeded

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with seeded(0, device):
        module = Mixer.parse(f"{mixer}()").build(Site(width=32, heads=2, causal=True, context_length=64)).to(device)
        x_bld = torch.randn(2, 24, 32, device=device, requires_grad=True)
    y_bld, state = module(x_bld)
    y_bld.square().mean().backward()
    with torch.no_grad():
        after, _ = module(x_bld[:, :1], state)
    results = [y_bld, after, x_bld.grad, *(p.grad for p in module.parameters())]
    if not all(result is not None and bool(result.isfinite().all()) for result in results):
        raise ArithmeticError("an output or a gradient is missing or not finite")


class _LogLines(logging.Handler):
    """Keeps the messages that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
