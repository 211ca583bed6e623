"""Linear attention: keys and values enter as sums over products of features, in time linear in length."""

from formers.ops.linear_attention.chunks import CHUNK
from formers.ops.linear_attention.dense_attention import dense_attention
from formers.ops.linear_attention.elementwise import ElementwiseFeature, elementwise_features
from formers.ops.linear_attention.exp_features import exp_features, largest_exponents
from formers.ops.linear_attention.fourier_features import fourier_features
from formers.ops.linear_attention.kernel_attention import kernel_attention, kernel_attention_reach
from formers.ops.linear_attention.linear_attention import linear_attention
from formers.ops.linear_attention.matmul import SCORES_TO, STATE_FROM
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.state import LinearState, linear_state
from formers.ops.linear_attention.windowed import windowed_linear_attention

__all__ = [
    "CHUNK",
    "SCORES_TO",
    "STATE_FROM",
    "ElementwiseFeature",
    "LinearState",
    "dense_attention",
    "elementwise_features",
    "exp_features",
    "fourier_features",
    "kernel_attention",
    "kernel_attention_reach",
    "largest_exponents",
    "linear_attention",
    "linear_state",
    "safe_divisor",
    "windowed_linear_attention",
]
