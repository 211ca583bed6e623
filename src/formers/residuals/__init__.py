"""How the sub-layers of a layer are wired; one file a variant."""

from formers.residuals.danet import Danet
from formers.residuals.post_norm import PostNorm
from formers.residuals.pre_norm import PreNorm
from formers.residuals.residual import Block, Residual
from formers.residuals.reversible import Reversible

__all__ = ["Block", "Danet", "PostNorm", "PreNorm", "Residual", "Reversible"]
