"""Checksums by which answers that were kept belong to one model, read in one way."""

from __future__ import annotations

import hashlib

import torch

from formers.evaluation.text_model import TextModel


def answers_key(model: TextModel, *more: object) -> str:
    """Return a checksum of a model's weights and configuration, of how it reads texts, and of whatever more.

    Reads every weight once.
    """
    config = model.model.config
    attention = getattr(config, "_attn_implementation", "")
    digest = hashlib.sha256(f"{model.length} {attention} {more} {config.to_json_string()}".encode())
    for name, weight in sorted(model.model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
