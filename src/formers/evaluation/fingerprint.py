"""Checksums by which answers that were kept belong to one model, read in one way."""

from __future__ import annotations

import hashlib

from formers.evaluation.text_model import TextModel
from formers.machine.weights_checksum import add_weights


def answers_key(model: TextModel, *more: object) -> str:
    """Return a checksum of a model's weights and configurations, of how it reads texts, and of whatever more.

    Reads every weight once.
    """
    config = model.model.config
    attention = getattr(config, "_attn_implementation", "")
    writing = getattr(model.model, "generation_config", None)
    facts = (model.length, attention, more, config.to_json_string(), writing, model.coder.identity())
    digest = hashlib.sha256(repr(facts).encode())
    add_weights(digest, model.model)
    return digest.hexdigest()[:16]
