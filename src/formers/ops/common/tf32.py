"""Whether a GPU multiplies float32 by TF32, as torch is set to."""

from __future__ import annotations

import torch


def multiplies_in_tf32() -> bool:
    """Return whether torch's own float32 products may run in TF32 on a GPU, whichever way that was set.

    That is by `torch.set_float32_matmul_precision`, `torch.backends.cuda.matmul.allow_tf32`, or the newer
    `torch.backends.fp32_precision` and `torch.backends.cuda.matmul.fp32_precision`. The getters of the first two raise
    an error once one of the last two was set; that of the last knows all four.
    """
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


# What `torch.compiler.assume_constant_result` does, without importing the compiler, which cannot trace the getter. A
# graph keeps the form that was right when it was made; its kernels ask again with each call.
multiplies_in_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
