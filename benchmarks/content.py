"""Mixers that choose or compress, against published implementations and softmax attention; the reversible wiring."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.harness import SEED, Row, compared, peak_bytes, publish, timings, train_step, verify
from performer_pytorch import FastAttention
from reformer_pytorch import LSHAttention
from torch import Tensor

from formers import ops
from formers.mixers import Favor, Linformer, Lsh, Mixer, Performer, Routing, Softmax
from formers.models import Transformer, TransformerConfig
from formers.part import Site

HEADS, WIDTH = 8, 64
NOTES = (
    "float32, B=1, H=8, K=V=64. Performer: causal, 256 features made from queries and keys included. LSH: causal, 4 "
    "rounds, chunks of 64, hashing included. performer-pytorch 1.1.4 on its CPU path. reformer-pytorch 1.4.4 as it is "
    "by default, where a pair that meets in several rounds counts several times and buckets look into the next, and "
    "told to do neither, which is what is computed here; its step of 8,192 tokens by default takes 1.3 to 3.2 s from "
    "run to run, as the machine has fresh memory at hand. Routing and Linformer are whole mixers, projections "
    "included, and so is the softmax they are compared with. Reversible: a causal model of width 256 with softmax "
    "attention, B=1, L=1024."
)


def performer() -> Callable[..., Tensor]:
    feature = Favor(features=256).build(WIDTH).eval()
    return lambda q, k, v: ops.linear_attention(feature(q, query=True), feature(k), v, causal=True)[0]


def lsh(length: int) -> Callable[..., Tensor]:
    site = Site(width=HEADS * WIDTH, heads=HEADS, causal=True, context_length=length)
    mixer = Lsh(rounds=4, chunk=64).build(site).eval()

    def attend(q: Tensor, v: Tensor) -> Tensor:
        return ops.bucketed_attention(q, None, v, mixer.hash(q.detach()), chunk=64, causal=True, self_last=True)

    return attend


def inputs(count: int, length: int, *, grad: bool = True) -> list[Tensor]:
    return [torch.randn(1, HEADS, length, WIDTH, requires_grad=grad) for _ in range(count)]


def check() -> None:
    bucket = torch.randint(8, (1, HEADS, 4, 257))
    forms = [
        lambda q, v, impl=impl: ops.bucketed_attention(
            q, None, v, bucket, chunk=64, causal=True, self_last=True, impl=impl
        )
        for impl in ("torch", "naive")
    ]
    verify(*forms, inputs(2, 257, grad=False))
    w = torch.randn(256, WIDTH) / 4
    forms = [lambda q, impl=impl: ops.exp_features(q, w.to(q.dtype), impl=impl) for impl in ("torch", "naive")]
    verify(*forms, inputs(1, 257, grad=False))


def performer_package() -> Callable[..., Tensor]:
    return FastAttention(WIDTH, nb_features=256, causal=True).eval()


def reformer_package(**options: bool) -> Callable[..., Tensor]:
    attention = LSHAttention(bucket_size=64, n_hashes=4, causal=True, **options)
    return lambda q, v: attention(q.flatten(0, 1), v.flatten(0, 1))[0]


def against_published(
    case: str, own: Callable[..., Tensor], packages: dict[str, Callable[..., Tensor]], given: list[Tensor], less: float
) -> list[Row]:
    """Forward, and forward + backward, `less` times less than packages take."""
    calls = {case: own, **packages}
    forwards = {name: forward(function, given) for name, function in calls.items()}
    steps = {name: train_step(function, given) for name, function in calls.items()}
    return [
        compared(f"{case}, {what}", f"L={given[0].shape[2]}", times, case, peer, 1 / less)
        for what, times in (
            ("forward", timings(forwards, repeats=5, warmup=1)),
            ("forward + backward", timings(steps, repeats=3, warmup=1)),
        )
        for peer in packages
    ]


def forward(function: Callable[..., Tensor], given: list[Tensor]) -> Callable[[], None]:
    def call() -> None:
        with torch.no_grad():
            function(*given)

    return call


def mixer_rows(part: Mixer, causal: bool, length: int) -> list[Row]:
    """A mixer against softmax attention in the same place."""
    site = Site(width=HEADS * WIDTH, heads=HEADS, causal=causal, context_length=length)
    own, softmax = part.build(site).train(), Softmax().build(site).train()
    x = torch.randn(1, length, HEADS * WIDTH, requires_grad=True)
    steps = {
        name: train_step(lambda x, m=m: m(x)[0], [x]) for name, m in ((part.name(), own), ("softmax (SDPA)", softmax))
    }
    kind = "causal" if causal else "all pairs"
    rows = [
        compared(
            f"{part.name()}, {kind}, forward + backward",
            f"L={length}",
            timings(steps, repeats=5, warmup=1),
            part.name(),
            "softmax (SDPA)",
            1.0,
        )
    ]
    forwards = {
        name: forward(lambda x, m=m: m(x)[0], [x])
        for name, m in ((part.name(), own.eval()), ("softmax (SDPA)", softmax.eval()))
    }
    return [
        compared(
            f"{part.name()}, {kind}, forward",
            f"L={length}",
            timings(forwards, repeats=5, warmup=1),
            part.name(),
            "softmax (SDPA)",
            1.0,
        ),
        *rows,
    ]


def model_step(depth: int, residual: str) -> Callable[[], None]:
    config = TransformerConfig(
        vocab_size=64, width=256, depth=depth, heads=4, causal=True, residual=residual, context_length=1024
    )
    model, ids = Transformer(config).train(), torch.randint(64, (1, 1024))
    parameters = list(model.parameters())

    def step() -> None:
        y = model(input_ids=ids, use_cache=False).last_hidden_state
        for parameter, gradient in zip(parameters, torch.autograd.grad(y.sum(), parameters), strict=True):
            parameter.grad = gradient

    return step


def reversible_rows() -> list[Row]:
    shallow, deep, plain = model_step(2, "reversible()"), model_step(12, "reversible()"), model_step(12, "pre_norm()")
    parameters = {depth: parameter_bytes(depth) for depth in (2, 12)}
    memory = {depth: (peak_bytes(step) - parameters[depth]) / 2**20 for depth, step in ((2, shallow), (12, deep))}
    usual = (peak_bytes(plain) - parameters[12]) / 2**20
    times = timings({"reversible": deep, "pre-norm": plain}, repeats=5, warmup=1)
    return [
        Row(
            "reversible, peak memory beside gradients",
            "12 layers",
            memory[12],
            memory[2],
            "itself with 2 layers",
            1.3,
            "MiB",
        ),
        Row("reversible, peak memory beside gradients", "12 layers", memory[12], usual, "pre-norm", None, "MiB"),
        compared("reversible, training step", "12 layers", times, "reversible", "pre-norm", 1.6),
    ]


def parameter_bytes(depth: int) -> int:
    """What a fresh set of gradients takes."""
    config = TransformerConfig(vocab_size=64, width=256, depth=depth, heads=4, context_length=1024)
    return sum(p.numel() * p.element_size() for p in Transformer(config).parameters())


def main() -> None:
    torch.manual_seed(SEED)
    check()
    peers = {"performer-pytorch": performer_package()}
    rows = against_published("performer, causal", performer(), peers, inputs(3, 2048), 20)
    peers = {
        "reformer-pytorch": reformer_package(),
        "reformer-pytorch, the same pairs": reformer_package(
            allow_duplicate_attention=False, attend_across_buckets=False
        ),
    }
    rows += against_published("lsh, causal", lsh(8192), peers, inputs(2, 8192), 3)
    for length in (4096, 8192):
        rows += mixer_rows(Routing(), True, length) + mixer_rows(Linformer(length=256), False, length)
        rows += mixer_rows(Performer(features=256), True, length)
    publish("content", "Mixers that choose or compress", NOTES, rows + reversible_rows())


if __name__ == "__main__":
    main()
