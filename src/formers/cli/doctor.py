"""`formers doctor`: what is installed, and whether it works."""

from __future__ import annotations

import logging
from importlib.util import find_spec

import typer

_EXTRAS = {
    "lab": ("accelerate", "mlflow", "sqlalchemy", "alembic", "typer", "rich", "yaml", "plotly", "jinja2"),
    "adapt": ("peft",),
    "gpu": ("triton",),
    "ui": ("mlflow.server.js",),
}
_CHECKED = ("softmax", "linear", "dense", "pool")


def doctor() -> None:
    """Show versions, device and extras, what `impl=auto` chooses here, and check that a small model runs.

    Exits with 1 where the check fails.
    """
    from formers.machine.environment import environment

    for name, value in environment().items():
        typer.echo(f"{name:<14}{value}")
    for extra, needs in _EXTRAS.items():
        missing = [name for name in needs if not _installed(name)]
        state = f"missing {', '.join(missing)}: pip install 'formers[{extra}]'" if missing else "installed"
        typer.echo(f"extra {extra:<8}{state}")
    chosen, failures = _self_check()
    for line in chosen:
        typer.echo(f"auto          {line}")
    for mixer in _CHECKED:
        typer.echo(f"check         {mixer}: {failures.get(mixer, 'ok')}")
    if failures:
        raise typer.Exit(1)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _self_check() -> tuple[list[str], dict[str, str]]:
    """What the ops chose by themselves in small models of each kind, and what went wrong, by mixer."""
    listener = _LogLines()
    log = logging.getLogger("formers.ops")
    level = log.level
    log.addHandler(listener)
    log.setLevel(logging.DEBUG)
    failures: dict[str, str] = {}
    try:
        for mixer in _CHECKED:
            try:
                check(mixer)
            except Exception as error:  # whatever breaks here is the finding
                failures[mixer] = f"{type(error).__name__}: {error}"
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
    return list(dict.fromkeys(listener.lines)), failures


def check(mixer: str) -> None:
    """Trains a tiny model for a step, and lets it write. Raises where the result is not finite."""
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
    """Keeps the messages it hears."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
