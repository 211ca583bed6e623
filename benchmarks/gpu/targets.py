"""What is to be reached on one H100 or H200, in bfloat16: case and setting → the peer and the most of its cost."""

from __future__ import annotations

FLA = "fla chunk_linear_attn, features given, not normalised"
FLEX = "compiled FlexAttention, its mask kept"
BERT = "transformers BERT, sdpa"
SOFTMAX = "softmax"
LLAMA = "transformers Llama"
LLAMA_STATIC = "transformers Llama, static cache"
KINDS = ("forward", "forward + backward")
MIXERS = (
    "metric()", "dense()", "linear()", "linear(feature=taylor2())", "sliding_dense()", "longformer()", "window(128)",
    "bigbird()", "rfa()", "performer()", "lsh()", "routing()",
)  # fmt: skip
"""The mixers whose training steps are compared, all of them causal."""
OTHER_MIXERS = (
    "windowed_linear()", "adaptive_span(span=128)", "sparse_transformer()", "image_local()", "quadratic()", "pool()",
)  # fmt: skip
"""The rest of the causal ones, measured when there is time left."""

TARGETS: dict[tuple[str, str], tuple[str, float | None]] = {}
for _kind in KINDS:
    for _length in ("16,384", "65,536"):
        TARGETS[f"linear, causal, {_kind}", f"L={_length}"] = (FLA, 1.0)
    TARGETS[f"linear, causal, against SDPA, {_kind}", "L=4,096"] = ("SDPA", 1.0)
    TARGETS[f"linear, causal, against SDPA, {_kind}", "L=16,384"] = ("SDPA", 0.5)
    for _length in ("1,024", "4,096", "16,384"):
        TARGETS[f"metric, causal, {_kind}", f"L={_length}"] = ("SDPA", 1.1)
    for _window in (128, 512):
        for _length in ("4,096", "16,384", "65,536"):
            TARGETS[f"window({_window}), {_kind}", f"L={_length}"] = (FLEX, 1.15)
for _length in ("16,384", "65,536"):
    TARGETS["linear, causal, memory", f"L={_length}"] = (FLA, 1.2)
for _window in (128, 512):
    TARGETS[f"window({_window}), memory", "L=65,536"] = ("itself at L=16,384", 4.4)
TARGETS |= {
    ("encoder, DANet, forward", "L=1,024"): (BERT, 1 / 1.2),
    ("encoder, DANet, forward", "L=16,384"): (BERT, 1 / 3),
    ("encoder, DANet, µs a token", "L=131,072"): ("itself at L=1,024", 1.05),
    ("encoder, FNet, forward", "L=512"): (BERT, 1 / 1.2),
    ("encoder, Longformer (256), training step", "L=4,096"): (BERT, 1.0),
    ("encoder, Longformer (256), training step", "L=16,384"): (BERT, 1 / 2.5),
    ("training step, softmax()", "8 × 2,048 tokens"): (LLAMA, 1.0),
    ("decoding, softmax()", "after 1,024 tokens"): (LLAMA, 1 / 1.5),
    ("decoding, static, softmax()", "after 1,024 tokens"): (LLAMA, 1 / 1.5),
}
for _mixer in (*MIXERS, *OTHER_MIXERS):
    TARGETS[f"training step, {_mixer}", "8 × 2,048 tokens"] = (SOFTMAX, 2.0 if _mixer == "lsh()" else 1.3)
    TARGETS[f"training step, {_mixer}, memory", "8 × 2,048 tokens"] = (SOFTMAX, 1.5)
for _mixer in ("linear()", "dense()", "window(128)"):
    for _how in ("decoding", "decoding, static"):
        TARGETS[f"{_how}, {_mixer}", "after 1,024 tokens"] = (LLAMA, 1 / 3)
    TARGETS[f"training step, {_mixer}, alone", "1 × 65,536 tokens"] = ("—", None)
