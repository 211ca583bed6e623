"""Fixed linear maps along the sequence: no token chooses what it reads."""

from formers.ops.token_mixing.fourier import MATMUL_UP_TO, fourier_mix
from formers.ops.token_mixing.pool import pool_mix
from formers.ops.token_mixing.pool_state import PoolState

__all__ = ["MATMUL_UP_TO", "PoolState", "fourier_mix", "pool_mix"]
