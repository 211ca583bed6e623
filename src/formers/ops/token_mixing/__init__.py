"""Fixed linear maps along the sequence: no token chooses what it reads."""

from formers.ops.token_mixing.fourier import fourier_mix
from formers.ops.token_mixing.pool import pool_mix
from formers.ops.token_mixing.pool_state import PoolState

__all__ = ["PoolState", "fourier_mix", "pool_mix"]
