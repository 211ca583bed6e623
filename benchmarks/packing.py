"""Documents packed into one row against a padded batch of them, and against transformers with a block-diagonal mask."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
import transformers
from benchmarks.harness import SEED, Row, compared, publish, timings
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaModel

from formers import Transformer, TransformerConfig
from formers.testing import assert_same

WIDTH, DEPTH, HEADS, HIDDEN, WORDS, TOKENS = 256, 2, 4, 688, 1000, 2048
NOTES = (
    f"float32; a Llama of width {WIDTH}, {DEPTH} layers, {HEADS} heads, feed-forward {HIDDEN}, without a head; "
    f"{TOKENS} tokens in all. The training step is forward and backward. A padded batch is the same documents and "
    "model, a row each. transformers reads the same row and positions, with the same weights, and masks what belongs "
    "to other documents. Before timing, all three are compared."
)
LENGTHS = {
    "4 equal documents": [512] * 4,
    "13 documents of 24 to 512": [512, 360, 280, 210, 160, 130, 100, 84, 62, 50, 44, 32, 24],
    "1 document of 512 and 24 of 64": [512, *[64] * 24],
}
LIMITS = dict(zip(LENGTHS, (1.2, 0.5, 0.4), strict=True))
"""The most of the padded batch's time that the packed row may take."""


def ours(mixer: str) -> Transformer:
    return Transformer(
        TransformerConfig(
            vocab_size=WORDS,
            width=WIDTH,
            depth=DEPTH,
            heads=HEADS,
            mixer=mixer,
            position="rotary()",
            norm="rms_norm(eps=1e-6)",
            ffn=f"glu(expand={HIDDEN / WIDTH})",
            context_length=TOKENS,
            causal=True,
            use_cache=False,
        )
    )


def llama() -> LlamaModel:
    sizes = {"vocab_size": WORDS, "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "intermediate_size": HIDDEN}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": HEADS, "max_position_embeddings": TOKENS}
    return LlamaModel(LlamaConfig(**sizes, **heads, rms_norm_eps=1e-6, use_cache=False, attn_implementation="sdpa"))


def as_ours(name: str) -> str:
    """Return our name of a weight of Llama's."""
    places = {
        "self_attn": "mixer",
        "mlp": "ffn",
        "input_layernorm": "mixer_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    return ".".join(places.get(part, part) for part in name.split("."))


def step(model: nn.Module, inputs: dict[str, Any], mask_bl: Tensor | None = None) -> Callable[[], None]:
    """Return a training step whose loss counts real tokens only."""

    def call() -> None:
        model.train()
        hidden = model(**inputs).last_hidden_state
        (hidden if mask_bl is None else hidden[mask_bl]).square().sum().backward()
        model.zero_grad(set_to_none=True)

    return call


def rows_for(case: str, lengths: list[int]) -> list[Row]:
    texts = list(torch.randint(WORDS, (TOKENS,)).split(lengths))
    positions = torch.cat([torch.arange(length) for length in lengths]).unsqueeze(0)
    packed = {"input_ids": torch.cat(texts).unsqueeze(0), "position_ids": positions}
    mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
    padded = {"input_ids": pad_sequence(texts, batch_first=True), "attention_mask": mask}
    peer, found = llama(), []
    for mixer in ("softmax()", "linear()", "window(128)"):
        model = ours(mixer)
        calls = {"packed": step(model, packed), "padded batch": step(model, padded, mask.bool())}
        with torch.no_grad():
            want = model(**padded).last_hidden_state[mask.bool()]
            assert_same(model(**packed).last_hidden_state[0], want, f"{mixer} packed", 1e-3)
            if mixer == "softmax()":
                model.load_state_dict({as_ours(name): weight for name, weight in peer.state_dict().items()})
                want = peer(**packed).last_hidden_state
                assert_same(model(**packed).last_hidden_state, want, "softmax as Llama", 1e-3)
                calls["transformers (sdpa, packed)"] = step(peer, packed)
        times = timings(calls, repeats=5)
        limits = {"padded batch": LIMITS[case], "transformers (sdpa, packed)": 1.0}
        found += [compared(f"{mixer}, step", case, times, "packed", name, limits[name]) for name in list(calls)[1:]]
    return found


def main() -> None:
    torch.manual_seed(SEED)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    title = f"Packed documents against a padded batch, and transformers {transformers.__version__}"
    publish("packing", title, NOTES, [row for case, lengths in LENGTHS.items() for row in rows_for(case, lengths)])


if __name__ == "__main__":
    main()
