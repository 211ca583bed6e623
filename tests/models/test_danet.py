"""DANet as published: numbers of the official code, for weights made of sines, and the scales that weights start at.

The official code is andrewargatkiny/dense-attention, commit 81d92da, run in float64 on these weights.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from formers.models import Transformer, TransformerConfig

PUBLISHED = {
    "mixer": "dense",
    "residual": "danet",
    "norm": "max_norm",
    "ffn": "mlp(activation=relu, bias=False, init=1.0)",
    "embedding_norm": "hardtanh",
    "final_norm": "none",
}
"""What the official code has unless told otherwise."""
HEADED = PUBLISHED | {"embedding_norm": "max_norm", "final_norm": "max_norm"}
"""Its BERT."""
WEIGHTED = HEADED | {
    "norm": "max_norm(weight=after, eps=1e-12)",
    "residual": "danet(out_norm=max_norm(weight=before, eps=1e-12))",
}
"""With the norms of its pretrained BERT."""
COSINE = {"position": "cosine(per_head=True)", "mixer": "dense(heads=2)"}
LOCAL = [
    "local_dense(window=4, heads=2, restart=True)",
    "local_dense(window=4, shift=2, heads=2, restart=True)",
    "dense(heads=2)",
]

OFFICIAL: list[tuple[str, dict[str, Any], list[float]]] = [
    ("default", PUBLISHED, [-0.00857609, 0.715969768, -0.458908678, 3.919033233, 0.080014919, 0.742829051]),
    (
        "cosine positions in two heads",
        PUBLISHED | COSINE,
        [1.15010965, 1.742795197, 1.780216913, 3.051289787, -0.124086538, 1.452547865],
    ),
    (
        "local, shifted and global layers",
        PUBLISHED | COSINE | {"mixer": LOCAL},
        [0.804092734, 1.5382727, 1.567469053, 2.907028258, -0.086520686, 1.534147363],
    ),
    (
        "norms at both ends",
        HEADED,
        [-0.014283823, 0.307063149, -0.11726121, 0.999743343, -0.015385684, 0.363923803],
    ),
    (
        "weighted norms",
        WEIGHTED,
        [0.098933711, 0.257457757, 0.121589939, 0.999680347, 0.125381838, 0.292430407],
    ),
]
"""Name, choices, and the official outputs at tokens 0, 4 and 8, features 1 and 6."""


def danet(choices: dict[str, Any], **sizes: Any) -> Any:
    torch.manual_seed(0)
    given = {"vocab_size": 50, "width": 8, "depth": 3, "heads": 2, "position": "none", "context_length": 12}
    return Transformer(TransformerConfig(causal=False, **(given | choices | sizes)))


def wave(*shape: int) -> Tensor:
    return 0.6 * (1.7 * torch.arange(math.prod(shape)).double().reshape(shape) + 0.3).sin()


@torch.no_grad()
def make_of_sines(model: Any) -> None:
    """Set the weights to those that the official numbers were made with."""
    model.embed_tokens.weight.copy_(2 * wave(50, 8))
    for i, layer in enumerate(model.layers):
        layer.mixer.q_proj.weight.copy_(wave(8, 8) + i / 10)
        layer.ffn.up_proj.weight.copy_(wave(32, 8) - i / 20)
        layer.ffn.down_proj.weight.copy_(wave(8, 32) + i / 30)
        for norm in (layer.mixer_norm, layer.ffn_norm):
            if norm.weight is not None:
                norm.weight.copy_(1 + wave(8) / 2)


@pytest.mark.parametrize(("choices", "official"), [case[1:] for case in OFFICIAL], ids=[case[0] for case in OFFICIAL])
def test_the_official_codes_numbers(choices: dict[str, Any], official: list[float]) -> None:
    model = danet(choices).double().eval()
    make_of_sines(model)
    ids, mask = torch.arange(12)[None] * 7 % 50, torch.ones(1, 12)
    mask[0, 9:] = 0
    y = model(ids, attention_mask=mask).last_hidden_state[0, [0, 4, 8]][:, [1, 6]]
    assert y.flatten().tolist() == pytest.approx(official, rel=1e-6)  # its weighted norms divide in float32


@pytest.mark.parametrize(("expand", "initializer_range"), [(4, 0.02), (2, 0.2)])
def test_weights_start_at_the_official_scales(expand: int, initializer_range: float) -> None:
    ffn = f"mlp(activation=relu, bias=False, expand={float(expand)}, init=1.0)"
    model = danet(PUBLISHED | {"ffn": ffn}, width=64, depth=6, initializer_range=initializer_range)
    scales = {
        "mixer.q_proj": initializer_range / math.sqrt(2 * 6 * 64),
        "ffn.up_proj": 1 / math.sqrt(2 * expand * 64),
        "ffn.down_proj": 1 / math.sqrt(2 * expand * 64),
    }
    for name, scale in scales.items():
        weights = torch.stack([layer.get_submodule(name).weight for layer in model.layers])
        assert weights.std().item() == pytest.approx(scale, rel=0.02), name
    assert model.embed_tokens.weight.std().item() == pytest.approx(initializer_range, rel=0.05)
