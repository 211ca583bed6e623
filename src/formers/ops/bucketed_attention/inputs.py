"""What every form of bucketed attention is given."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class BucketedInputs(NamedTuple):
    """The checked inputs of `bucketed_attention`, as every form takes them: masked tokens are zero."""

    q_bhlk: Tensor
    k_bhlk: Tensor | None
    v_bhlv: Tensor
    bucket_bhrl: Tensor
    key_mask_bl: Tensor | None
    chunk: int
    causal: bool
    self_last: bool
    scale: float
