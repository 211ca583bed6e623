"""Faults around generation: a context that is lost, rows that are mixed up, tokens that are never taken back."""

from __future__ import annotations

from typing import Any

from planting import Patch, fault, spoiled
from torch import Tensor, nn
from transformers import GenerationMixin

from formers.mixers import Linear, Routing, Softmax
from formers.models.backbone import Transformer
from formers.models.cache import StateLayer
from formers.models.generation import StateGenerationMixin
from formers.part import Part
from formers.testing import laws


@fault(laws.generation_equals_recomputation)
def a_context_is_lost_without_a_state(patch: Patch) -> Part:
    own = (
        GenerationMixin._prepare_cache_for_generation
    )  # leaves use_cache on, so that only the last token is handed over
    patch.setattr(StateGenerationMixin, "_prepare_cache_for_generation", own)
    patch.setattr(Transformer, "_check_streaming", lambda self, instead: None)
    return Routing()


@fault(laws.generation_equals_recomputation)
def a_state_of_the_first_token_only(patch: Patch) -> Part:
    def forget(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        return y, module(x[:, :1])[1] if state is not None and x.shape[1] > 1 else state

    return spoiled(Linear(), forget)


@fault(laws.generation_equals_recomputation)
def beams_keep_the_rows_of_others(patch: Patch) -> Part:
    patch.setattr(StateLayer, "reorder_cache", lambda self, beam_idx: None)
    return Softmax()


@fault(laws.generation_equals_recomputation)
def trims_one_token_too_few(patch: Patch) -> Part:
    crop = StateLayer.crop
    patch.setattr(StateLayer, "crop", lambda self, tokens_to_remove: crop(self, min(0, tokens_to_remove + 1)))
    return Softmax()
