"""Whole Longformer and BigBird encoders against those of Hugging Face transformers."""

from __future__ import annotations

import torch
import transformers
from benchmarks.encoders import forward, training_step
from benchmarks.harness import SEED, Row, compared, publish, timings
from torch import nn
from transformers import BigBirdConfig, BigBirdModel, LongformerConfig, LongformerModel

from formers import Transformer, TransformerConfig
from formers.mixers import BigBird, Longformer, Mixer, Sparse
from formers.patterns import Chunk
from formers.positions import Learned
from formers.testing import broken_laws

WIDTH, DEPTH, HEADS, HIDDEN, WORDS, LONGEST = 256, 4, 4, 1024, 1000, 4096
WINDOW, BLOCK, RANDOM = 256, 64, 3
NOTES = (
    f"float32, B=1; hidden {WIDTH}, {DEPTH} layers, {HEADS} heads, FFN {HIDDEN}, vocabulary {WORDS}, no head, no "
    f"dropout. Longformer: {WINDOW} tokens to each side, the first token global. BigBird: blocks of {BLOCK}, a window "
    f"of 3, the first and the last global, {RANDOM} random ones. The training step is forward and backward. The limit "
    "is the same encoder whose tokens see nothing but themselves: projections, feed-forwards and norms. transformers "
    f"{transformers.__version__}."
)
LIMITS = {"longformer": {"forward": 1 / 1.4}, "bigbird": {"forward": 1 / 1.8}}
STEP = 1 / 1.6
ALONE = "the same without attention"


def ours(mixer: Mixer) -> Transformer:
    return Transformer(
        TransformerConfig(
            vocab_size=WORDS,
            width=WIDTH,
            depth=DEPTH,
            heads=HEADS,
            context_length=LONGEST,
            mixer=mixer,
            position=Learned(),
            residual="post_norm()",
            norm="layer_norm(eps=1e-12)",
            initializer_range=0.02,
        )
    )


class GlobalFirst(nn.Module):
    """Longformer of transformers with its first token global."""

    def __init__(self, model: LongformerModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> object:
        chosen = torch.zeros_like(input_ids)
        chosen[:, 0] = 1
        return self.model(input_ids=input_ids, global_attention_mask=chosen)


def models() -> dict[str, nn.Module]:
    sizes = {"vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "intermediate_size": HIDDEN}
    plain = {"num_attention_heads": HEADS, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    longformer = LongformerConfig(
        **sizes, **plain, max_position_embeddings=LONGEST + 2, attention_window=[2 * WINDOW] * DEPTH
    )
    bigbird = BigBirdConfig(
        **sizes,
        **plain,
        max_position_embeddings=LONGEST,
        block_size=BLOCK,
        num_random_blocks=RANDOM,
        attention_type="block_sparse",
    )
    return {
        "longformer": ours(Longformer(window=(WINDOW,), bias=True)),
        "bigbird": ours(BigBird(block=BLOCK, random=RANDOM)),
        ALONE: ours(Sparse(pattern=Chunk(1), bias=True)),
        "transformers Longformer": GlobalFirst(LongformerModel(longformer, add_pooling_layer=False)),
        "transformers BigBird": BigBirdModel(bigbird, add_pooling_layer=False),
    }


def rows_at(length: int, arms: dict[str, nn.Module]) -> list[Row]:
    ids = torch.randint(2, WORDS, (1, length))
    rows = []
    for kind, make, repeats in (("forward", forward, 7), ("training step", training_step, 5)):
        times = timings({name: make(model, ids) for name, model in arms.items()}, repeats=repeats)
        rows += [
            compared(f"{name}, {kind}", f"L={length}", times, name, peer, LIMITS[name].get(kind, STEP))
            for name, peer in (("longformer", "transformers Longformer"), ("bigbird", "transformers BigBird"))
        ]
        rows += [compared(f"{name}, {kind}", f"L={length}", times, name, ALONE) for name in LIMITS]
    return rows


def main() -> None:
    torch.manual_seed(SEED)
    transformers.logging.set_verbosity_error()
    for part in (Longformer(), BigBird()):
        if broken := broken_laws(part):
            raise SystemExit(f"{part} is not timed: it breaks {broken}")
    arms = models()
    rows = [row for length in (2048, LONGEST) for row in rows_at(length, arms)]
    publish("sparse_encoders", "Sparse encoders", NOTES, rows)


if __name__ == "__main__":
    main()
