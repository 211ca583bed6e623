"""Whole models in bfloat16: encoders, training steps under autocast, decoding, and long training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from benchmarks.gpu.bench import Bench, no_grad_or_not
from benchmarks.gpu.targets import BERT, LLAMA, LLAMA_STATIC, MIXERS, OTHER_MIXERS, SOFTMAX
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from formers import CausalLM, Transformer, TransformerConfig

WORDS = 32000
DANET = {
    "residual": "danet()",
    "norm": "max_norm()",
    "ffn": "mlp(activation=relu, bias=False)",
    "mixer": "dense()",
    "position": "none()",
}
CLASSIC = {"residual": "post_norm()", "norm": "layer_norm(eps=1e-12)", "position": "learned()"}
ENCODERS: dict[str, dict[str, Any]] = {
    "DANet": DANET,
    "FNet": CLASSIC | {"mixer": "fourier()", "ffn": "mlp(activation=gelu_tanh)"},
    "linear": CLASSIC | {"mixer": "linear()"},
    "softmax": CLASSIC | {"mixer": "softmax(bias=True)"},
    "Longformer (256)": CLASSIC | {"mixer": "longformer(window=[256])"},
}


def sizes(bench: Bench) -> dict[str, int]:
    return {"width": bench.size(768, 32), "depth": bench.size(12, 2), "heads": bench.size(12, 2)}


def encoder(bench: Bench, length: int, **choices: Any) -> nn.Module:
    words = bench.size(WORDS, 50)
    config = TransformerConfig(vocab_size=words, context_length=length, **sizes(bench), **choices)
    return Transformer(config).to(bench.device, bench.dtype)


def bert(bench: Bench, length: int) -> nn.Module:
    size = sizes(bench)
    config = BertConfig(
        vocab_size=bench.size(WORDS, 50),
        hidden_size=size["width"],
        num_hidden_layers=size["depth"],
        num_attention_heads=size["heads"],
        intermediate_size=4 * size["width"],
        max_position_embeddings=length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    return BertModel(config, add_pooling_layer=False).to(bench.device, bench.dtype)


def encoder_rows(bench: Bench) -> None:
    """Encoders of width 768 and 12 layers, 16,384 tokens a batch, against BERT with SDPA."""
    per_token: dict[int, float] = {}
    for length in (512, 1024, 4096, 16384, 131072):
        arms = {name: choices for name, choices in ENCODERS.items() if length < 131072 or name == "DANet"}
        peer: dict[str, tuple[float, float]] = {}
        for name in (*(["BERT"] if length < 131072 else []), *arms):

            def run(name: str = name, length: int = length) -> tuple[float, float]:
                size = bench.size(length, 32)
                made = bert(bench, size) if name == "BERT" else encoder(bench, size, **ENCODERS[name])
                ids = torch.randint(50, (max(bench.size(16384, 64) // size, 1), size), device=bench.device)
                forward = bench.milliseconds(lambda: _pass(made, ids, train=False), repeats=5)
                wanted = length < 131072 and (name in ("BERT", "Longformer (256)") or length in (1024, 16384))
                return forward, bench.milliseconds(lambda: _pass(made, ids, train=True), repeats=3) if wanted else 0.0

            found = bench.arm(f"{name} {length}", run)
            if found is None:
                continue
            peer[name] = found
            setting = f"L={length:,}"
            if name == "DANet":
                per_token[length] = 1e3 * found[0] / max(length, 16384)
            for i, kind in enumerate(("forward", "training step")):
                if name != "BERT" and found[i] and "BERT" in peer:
                    bench.row(f"encoder, {name}, {kind}", setting, found[i], peer["BERT"][i], against=BERT)
    if {1024, 131072} <= per_token.keys():
        bench.row("encoder, DANet, µs a token", "L=131,072", per_token[131072], per_token[1024], "µs")


def _pass(model: nn.Module, ids: Tensor, *, train: bool) -> None:
    with no_grad_or_not(train):
        y = model(ids)
        hidden = y if isinstance(y, Tensor) else y[0]
        if train:
            hidden.float().square().mean().backward()
            model.zero_grad()


def llama(bench: Bench) -> nn.Module:
    size = sizes(bench)
    config = LlamaConfig(
        vocab_size=bench.size(WORDS, 50),
        hidden_size=size["width"],
        num_hidden_layers=size["depth"],
        num_attention_heads=size["heads"],
        intermediate_size=8 * size["width"] // 3,
        max_position_embeddings=4096,
    )
    return LlamaForCausalLM(config).to(bench.device)


def causal(bench: Bench, mixer: str, length: int) -> nn.Module:
    words, position = bench.size(WORDS, 50), "none()" if mixer == "pool()" else "rotary()"  # pool() has no queries
    config = TransformerConfig(
        vocab_size=words, context_length=length, mixer=mixer, position=position, ffn="glu()", **sizes(bench)
    )
    return CausalLM(config).to(bench.device)


def training_rows(bench: Bench) -> None:
    """Steps of causal models of 12 layers and width 768 under autocast, against softmax; softmax against Llama."""
    _training_rows(bench, {"Llama": lambda: llama(bench)}, MIXERS)


def other_training_rows(bench: Bench) -> None:
    """The same of the other causal mixers."""
    _training_rows(bench, {}, OTHER_MIXERS)


def _training_rows(bench: Bench, makers: dict[str, Callable[[], nn.Module]], mixers: Sequence[str]) -> None:
    length = bench.size(2048, 64)
    ids = torch.randint(50, (bench.size(8, 2), length), device=bench.device)
    setting = "8 × 2,048 tokens"
    makers |= {m: lambda m=m: causal(bench, m, length) for m in ("softmax()", *mixers)}  # type: ignore[misc]
    found: dict[str, tuple[float, float | None]] = {}
    for name, make in makers.items():
        measured = bench.arm(f"training {name}", lambda make=make: _training(bench, make(), ids))
        if measured is None:
            continue
        found[name] = measured
        peer = found.get("Llama" if name == "softmax()" else "softmax()")
        if name != "Llama" and peer:
            bench.row(f"training step, {name}", setting, measured[0], peer[0])
            against = LLAMA if name == "softmax()" else SOFTMAX
            bench.row(f"training step, {name}, memory", setting, measured[1], peer[1], "MiB", against)


def _training(bench: Bench, model: nn.Module, ids: Tensor) -> tuple[float, float | None]:
    """Return milliseconds and MiB of a step: forward, backward and the optimiser's, fused."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=bench.device == "cuda")

    def step() -> None:
        with bench.autocast():
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return bench.milliseconds(step, repeats=5, warmup=2), bench.peak_mib(step)


def decoding_rows(bench: Bench) -> None:
    """`generate()` for four rows after 1,024 tokens, as users call it, against Llama in transformers."""
    prompt = torch.randint(3, 50, (4, bench.size(1024, 16)), device=bench.device)
    new = bench.size(64, 4)
    peer = bench.arm("decoding Llama", lambda: _decoding(bench, llama(bench), prompt, new))
    for mixer in ("softmax()", "linear()", "dense()", "window(128)"):
        made = bench.arm(
            f"decoding {mixer}",
            lambda mixer=mixer: _decoding(bench, causal(bench, mixer, bench.size(2048, 64)), prompt, new),
        )
        if made is not None:
            bench.row(f"decoding, {mixer}", "after 1,024 tokens", made, peer, "ms a token")


def static_rows(bench: Bench) -> None:
    """The same from caches of a fixed size, a step captured as a CUDA graph: against Llama as users run it, and so."""
    prompt = torch.randint(3, 50, (4, bench.size(1024, 16)), device=bench.device)
    new, setting, static = bench.size(64, 4), "after 1,024 tokens", {"cache_implementation": "static"}
    peer = bench.arm("decoding Llama", lambda: _decoding(bench, llama(bench), prompt, new))
    equal = bench.arm("decoding Llama, static", lambda: _decoding(bench, llama(bench), prompt, new, **static))
    for mixer in ("softmax()", "linear()", "window(128)", "dense()"):
        made = bench.arm(
            f"decoding {mixer}, static",
            lambda mixer=mixer: _decoding(bench, causal(bench, mixer, bench.size(2048, 64)), prompt, new, **static),
        )
        if made is not None:
            bench.row(f"decoding, static, {mixer}", setting, made, peer, "ms a token")
            bench.row(f"decoding, both static, {mixer}", setting, made, equal, "ms a token", LLAMA_STATIC)


def _decoding(bench: Bench, model: nn.Module, prompt: Tensor, new: int, **options: Any) -> float:
    made: Any = model.to(bench.dtype).eval()
    run = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0} | options
    return bench.milliseconds(lambda: made.generate(prompt, **run), repeats=2, warmup=1) / new


def long_rows(bench: Bench) -> None:
    """A training step on one sequence of 65,536 tokens: what fits one GPU."""
    ids = torch.randint(50, (1, bench.size(65536, 128)), device=bench.device)
    for mixer in ("linear()", "dense()", "window(128)"):
        made = bench.arm(f"long {mixer}", lambda mixer=mixer: _training(bench, causal(bench, mixer, ids.shape[1]), ids))
        if made is not None:
            bench.row(f"training step, {mixer}, alone", "1 × 65,536 tokens", made[0], None)
            bench.row(f"training step, {mixer}, alone, memory", "1 × 65,536 tokens", made[1], None, "MiB")
