"""The attention that each key gets from all queries."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState
from formers.mixers.score_bias import row_bias


def attention_mass(mixer: CachedAttention, seen: KeyValueState, q_bhlk: Tensor, context: Context) -> Tensor:
    """Return Σ_h Σ_i a_ij of each key j over all heads h and real queries i, (B, S), in float32.

    Kernels never form the weights a_ij; but an output is y_i = Σ_j a_ij v_j, so that the gradient of Σ_i y_i with
    respect to v_j is what is asked for. Costs a forward and a backward pass of the attention.
    """
    with torch.inference_mode(False), torch.enable_grad():
        q_bhlk, k_bgsk, values = (t.detach().clone() for t in (q_bhlk, seen.k_bgsk, seen.values))
        values.requires_grad_()
        positions = [None if t is None else t.clone() for t in (seen.mask_bs, seen.positions_bs)]
        seen = replace(seen, k_bgsk=k_bgsk, v_bgsv=values, mask_bs=positions[0], positions_bs=positions[1])
        bias = row_bias(mixer.score_position, context.positions_bl.clone(), positions[1])
        y_bhl = mixer.attend_to(seen, q_bhlk, bias)[..., 0]
        counted = torch.ones_like(y_bhl) if context.mask_bl is None else context.mask_bl.unsqueeze(1).expand_as(y_bhl)
        (mass_bgsv,) = torch.autograd.grad(y_bhl, values, counted.to(y_bhl.dtype))
    return mass_bgsv[..., 0].float().sum(1)
