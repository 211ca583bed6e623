"""Fingerprints by which a datastore knows the model and the corpus that it was made from."""

from __future__ import annotations

import hashlib
import json

from torch import Tensor

from formers.machine.weights_checksum import add_weights
from formers.models import CausalLM, TransformerConfig

_BLOCK = 1 << 20
"""Tokens that are hashed at a time."""
_NO_FUNCTION = {"use_cache", "dropout", "initializer_range", "pad_token_id", "bos_token_id", "eos_token_id"}
"""Options that change nothing of what a trained model computes."""


def model_hash(model: CausalLM) -> str:
    """Return the sha256 of a model's weights and of its choices that are not the default.

    Names, dtypes and values of the weights count, so that a model in another precision is another model. Cost: reads
    every weight once.
    """
    digest = hashlib.sha256(json.dumps(_choices(model.config), sort_keys=True).encode())
    add_weights(digest, model)
    return digest.hexdigest()


def corpus_hash(ids: Tensor) -> str:
    """Return the sha256 of a text's tokens (N,), whatever integers hold them."""
    digest = hashlib.sha256()
    for block in ids.split(_BLOCK):
        digest.update(block.long().numpy().tobytes())
    return digest.hexdigest()


def _choices(config: TransformerConfig) -> dict[str, object]:
    """Return the options that say what the model computes, where they are not the default.

    So a model keeps its fingerprint when a later version has more options.
    """
    usual, own = TransformerConfig().to_dict(), config.to_dict()
    names = [name for name in TransformerConfig.own_names() if name not in _NO_FUNCTION | {"causal"}]
    return {name: own[name] for name in names if name in own and own[name] != usual.get(name)}
