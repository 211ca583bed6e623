"""torch's scaled dot-product attention, alone."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers.bench.measuring.flops import TRAINING_PASSES
from formers.bench.measuring.phase_calls import PhaseCall, inference_call, training_call
from formers.bench.phases import STREAMING, Phase
from formers.bench.results import Status
from formers.bench.sizes import Sizes
from formers.bench.subjects.subject import NO_BIDIRECTIONAL_STATE, Subject

NAME = "sdpa"


class SdpaSubject(Subject):
    """torch's fused attention on queries, keys and values that are there already."""

    name, kind = NAME, "kernel"

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        return None

    def missing_phase(self, phase: Phase, causal: bool) -> str:
        if phase in STREAMING and not causal:
            return NO_BIDIRECTIONAL_STATE
        if phase == "prefill":
            return "the bare kernel keeps no state; its step looks at keys and values that are there"
        return ""

    def phase_call(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> PhaseCall:
        shape = (sizes.batch, sizes.length, sizes.heads, sizes.width // sizes.heads)
        q, k, v = (torch.randn(shape, device=device).transpose(1, 2) for _ in range(3))
        if phase == "training":
            wanted = [tensor.requires_grad_() for tensor in (q, k, v)]
            return PhaseCall(call=training_call(lambda: sdpa(q, k, v, is_causal=causal), wanted))
        if phase == "forward":
            return PhaseCall(call=inference_call(lambda: sdpa(q, k, v, is_causal=causal)))
        return PhaseCall(call=inference_call(lambda: sdpa(q[:, :, -1:], k, v)))

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> int:
        queries = 1 if phase == "step" else sizes.length
        forward = 4 * sizes.batch * queries * sizes.length * sizes.width
        return forward * (TRAINING_PASSES if phase == "training" else 1)
