"""Functions of each token on its own, where one kernel does what would take several passes over memory."""

from formers.ops.token_wise.activated_linear import activated_linear
from formers.ops.token_wise.max_norm import max_norm
from formers.ops.token_wise.opposite_softmaxes import opposite_softmaxes

__all__ = ["activated_linear", "max_norm", "opposite_softmaxes"]
