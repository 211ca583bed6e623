"""The check that a pretrained model and ours with its weights are one function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.models.pretrained import FormersModel
from formers.part import evaluating

_TOKENS = 12
"""Tokens of each of the two rows of the check; a third of the second one is padding."""
_ROUNDINGS = {"float32": 256, "half": 16}
"""How many roundings two ways through a model may lie apart, relative to the largest output: of float32, also in
float64 as rotations are float32 in Hugging Face's code; or of the half type, of which more would find nothing."""


def check_same_outputs(theirs: PreTrainedModel, ours: FormersModel) -> float:
    """Return the largest difference between outputs, relative to the largest output, on a few tokens with padding.

    Raise ValueError if it is more than rounding.
    """
    inputs = _inputs(theirs)
    with evaluating(theirs), evaluating(ours):
        pairs = _comparable(theirs(**inputs), ours(**inputs), inputs["attention_mask"])
    difference = max(float((got - want).abs().max() / want.abs().max()) for want, got in pairs)
    dtype = pairs[0][0].dtype
    eps, single = torch.finfo(dtype).eps, torch.finfo(torch.float32).eps
    allowed = _ROUNDINGS["half"] * eps if eps > single else _ROUNDINGS["float32"] * single
    if not difference <= allowed:
        raise ValueError(
            f"{type(theirs).__name__} and {type(ours).__name__} with its weights differ by {difference:.1e} of the "
            f"largest output, where rounding makes up to {allowed:.1e}: its family is not quite what is known here"
        )
    return difference


def _inputs(theirs: PreTrainedModel) -> dict[str, Tensor]:
    """Return two rows of tokens, the second one padded, with types where the model has several."""
    config: Any = theirs.config
    ids = torch.arange(2 * _TOKENS, device=theirs.device).view(2, _TOKENS) % max(config.vocab_size - 5, 1)
    ids = (ids + 5) % config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, -_TOKENS // 3 :] = 0
    inputs = {"input_ids": ids.masked_fill(mask == 0, config.pad_token_id or 0), "attention_mask": mask}
    types = getattr(config, "type_vocab_size", 0)
    return inputs | ({"token_type_ids": ids % types} if types > 1 else {})


def _comparable(theirs: Any, ours: Any, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of outputs that should be equal: of real tokens, or one a row, and what a pooler makes."""
    want, got = theirs[0], ours[0]
    if want.shape[:2] == mask.shape and want.dim() == 3:
        want, got = want[mask.bool()], got[mask.bool()]
    pooled = [getattr(out, "pooler_output", None) for out in (theirs, ours)]
    return [(want, got), *([(pooled[0], pooled[1])] if all(one is not None for one in pooled) else [])]
