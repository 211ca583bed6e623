"""Adaptive attention spans: what short ones save, against the whole span and against full attention."""

from __future__ import annotations

import torch
from benchmarks.harness import SEED, Row, compared, peak_bytes, publish, timings, train_step
from torch import Tensor, nn

from formers.mixers import AdaptiveSpan, Mixer, Softmax
from formers.part import Site
from formers.testing import SITE
from formers.testing.laws import same_as_naive, same_as_reference

WIDTH, HEADS, SPAN, LENGTH = 256, 4, 2048, 8192
SHARES = (1.0, 0.5, 0.25, 0.1)
WHOLE = "the whole span"
FULL = "softmax(), causal"
NOTES = (
    f"float32, B=1, D={WIDTH}, H={HEADS}, L={LENGTH}, one thread: `adaptive_span(span={SPAN})`, causal, with its "
    "projections, all heads with the same span z, against z = S, and against `softmax()`, which takes torch's fused "
    "kernel and sees everything. Keys: z + 32, rounded up to a multiple of 32, and 63 more for tiles of 64 queries "
    "(127 for 128 above 1,024 keys). A training step makes the scores of a tile twice, and differentiates the mask."
)


def module_of(mixer: Mixer, share: float | None = None) -> nn.Module:
    """Return a mixer whose spans are a share of the largest."""
    module = mixer.build(Site(width=WIDTH, heads=HEADS, causal=True, context_length=LENGTH))
    if share is not None:
        nn.init.constant_(module.get_parameter("share_h"), share)
    return module


def check() -> None:
    part = AdaptiveSpan(span=40, ramp=8)
    same_as_naive(part, SITE)
    same_as_reference(part, SITE)


def modules() -> dict[str, nn.Module]:
    names = {share: WHOLE if share == 1 else f"z = {share:g}·S" for share in SHARES}
    found = {name: module_of(AdaptiveSpan(span=SPAN), share) for share, name in names.items()}
    return found | {FULL: module_of(Softmax())}


def limits(name: str, peer: str) -> float | None:
    """A quarter of the span takes at most half the time of the whole."""
    return 0.5 if name == "z = 0.25·S" and peer == WHOLE else None


def time_rows(what: str) -> list[Row]:
    calls = {}
    for name, module in modules().items():
        x = torch.randn(1, LENGTH, WIDTH, requires_grad=True)
        step = train_step(lambda x, *_, module=module: module(x)[0], [x, *module.parameters()])
        calls[name] = step if what == "step" else forward_of(module, x.detach())
    times = timings(calls, repeats=5, warmup=1)
    spans = [name for name in calls if name != FULL]
    rows = [compared(f"{n}, {what}", f"L={LENGTH}", times, n, WHOLE, limits(n, WHOLE)) for n in spans[1:]]
    return rows + [compared(f"{n}, {what}", f"L={LENGTH}", times, n, FULL) for n in spans]


def forward_of(module: nn.Module, x: Tensor):  # type: ignore[no-untyped-def]
    def forward() -> None:
        with torch.no_grad():
            module(x)

    return forward


def memory_rows() -> list[Row]:
    """The state after the sequence, and the peak of a training step."""
    states, peaks = {}, {}
    for name, module in modules().items():
        x = torch.randn(1, LENGTH, WIDTH, requires_grad=True)
        with torch.no_grad():
            states[name] = module(x)[1].nbytes / 2**20
        step = train_step(lambda x, *_, module=module: module(x)[0], [x, *module.parameters()])
        peaks[name] = peak_bytes(step) / 2**20
    rows = []
    for what, sizes in (("state", states), ("step, peak memory", peaks)):
        for name in sizes:
            if name not in (WHOLE, FULL):
                rows.append(Row(f"{name}, {what}", f"L={LENGTH}", sizes[name], sizes[WHOLE], WHOLE, None, "MiB"))
        rows.append(Row(f"{WHOLE}, {what}", f"L={LENGTH}", sizes[WHOLE], sizes[FULL], FULL, None, "MiB"))
    return rows


def main() -> None:
    torch.manual_seed(SEED)
    check()
    publish("span", "Adaptive spans", NOTES, [*time_rows("forward"), *time_rows("step"), *memory_rows()])


if __name__ == "__main__":
    main()
