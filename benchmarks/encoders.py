"""Whole encoders against BERT and FNet of Hugging Face transformers."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
import transformers
from benchmarks.harness import SEED, Row, Timing, publish, timings
from torch import Tensor, nn
from transformers import BertConfig, BertModel, FNetConfig, FNetModel

from formers import Transformer, TransformerConfig
from formers.mixers import Dense, Fourier, Linear, Softmax
from formers.positions import Cosine, Learned, NoPosition
from formers.testing import broken_laws

WIDTH, DEPTH, HEADS, HIDDEN, WORDS, LONGEST = 256, 4, 4, 1024, 1000, 4096
NOTES = (
    f"float32; hidden {WIDTH}, {DEPTH} layers, {HEADS} heads, FFN {HIDDEN}, vocabulary {WORDS}, no head, no dropout, "
    f"{LONGEST} tokens a batch (B = {LONGEST}/L). The training step is forward and backward. "
    "DANet has one head, as its paper finds best, unless it says 4. "
    "`danet, equal parameters` has 5 layers: DANet's have no keys, values and output projection."
)
DANET = {"residual": "danet()", "norm": "max_norm()", "ffn": "mlp(activation=relu, bias=False)", "mixer": Dense()}


def ours(**choices: object) -> Transformer:
    shared = {"vocab_size": WORDS, "width": WIDTH, "depth": DEPTH, "heads": HEADS, "context_length": LONGEST}
    classic = {
        "position": Learned(),
        "residual": "post_norm()",
        "norm": "layer_norm(eps=1e-12)",
        "initializer_range": 0.02,
    }
    return Transformer(TransformerConfig(**(shared | classic | choices)))


def peers() -> dict[str, nn.Module]:
    sizes = {"vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "intermediate_size": HIDDEN}
    plain = {"max_position_embeddings": LONGEST, "hidden_dropout_prob": 0.0}
    bert = BertConfig(
        **sizes, **plain, num_attention_heads=HEADS, attention_probs_dropout_prob=0.0, attn_implementation="sdpa"
    )
    fnet = FNetConfig(**sizes, **plain)
    return {
        "transformers BERT (sdpa)": BertModel(bert, add_pooling_layer=False),
        "transformers FNet": FNetModel(fnet, add_pooling_layer=False),
    }


def arms() -> dict[str, nn.Module]:
    return {
        "softmax": ours(mixer=Softmax(bias=True)),
        "linear": ours(mixer=Linear()),
        "fnet": ours(mixer=Fourier(), ffn="mlp(activation=gelu_tanh)"),
        "danet": ours(**DANET, position=NoPosition()),
        "danet, 4 heads": ours(**(DANET | {"mixer": Dense(heads=HEADS)}), position=NoPosition()),
        "danet with cosine positions": ours(**DANET, position=Cosine()),
        "danet, equal parameters": ours(**DANET, position=NoPosition(), depth=5),
    }


CLAIMS = {  # arm → peer, and the most of its time that the forward pass may take at L = 512 and 4096
    "softmax": ("transformers BERT (sdpa)", {512: 1.0, 4096: 1.0}),
    "linear": ("transformers BERT (sdpa)", {}),
    "fnet": ("transformers FNet", {512: 1 / 1.2, 4096: 1 / 1.2}),
    "danet": ("transformers BERT (sdpa)", {512: 1 / 1.5, 4096: 1 / 3}),
    "danet, 4 heads": ("transformers BERT (sdpa)", {512: 1 / 1.5, 4096: 1 / 3}),
    "danet with cosine positions": ("transformers BERT (sdpa)", {512: 1 / 1.5, 4096: 1 / 3}),
    "danet, equal parameters": ("transformers BERT (sdpa)", {}),
}


def forward(model: nn.Module, ids: Tensor) -> Callable[[], None]:
    def call() -> None:
        model.eval()
        with torch.no_grad():
            model(input_ids=ids)

    return call


def training_step(model: nn.Module, ids: Tensor) -> Callable[[], None]:
    def call() -> None:
        model.train()
        model(input_ids=ids).last_hidden_state.square().mean().backward()
        model.zero_grad(set_to_none=True)

    return call


def compare(kind: str, length: int, times: dict[str, Timing]) -> list[Row]:
    """The rows of one length. A training step is asked for no less than the forward pass."""
    rows = []
    for arm, (peer, limits) in CLAIMS.items():
        own = times[arm]
        limit = limits.get(length)
        rows.append(
            Row(
                f"{arm}, {kind}", f"L={length}", own.median, times[peer].median, peer, limit, spread=(own.low, own.high)
            )
        )
    return rows


def main() -> None:
    torch.manual_seed(SEED)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    for part in (Softmax(), Linear(), Fourier(), Dense()):
        if broken := broken_laws(part):
            raise SystemExit(f"{part} is not timed: it breaks {broken}")
    models = peers() | arms()
    rows = []
    for length in (512, LONGEST):
        ids = torch.randint(WORDS, (LONGEST // length, length))
        for kind, make, repeats in (("forward", forward, 11), ("training step", training_step, 5)):
            times = timings({name: make(model, ids) for name, model in models.items()}, repeats=repeats)
            rows += compare(kind, length, times)
    sizes = ", ".join(f"{name} {sum(p.numel() for p in m.parameters()) / 1e6:.2f} M" for name, m in models.items())
    notes = f"{NOTES} Parameters, embeddings included: {sizes}. transformers {transformers.__version__}."
    publish("encoders", "Whole encoders", notes, rows)


if __name__ == "__main__":
    main()
