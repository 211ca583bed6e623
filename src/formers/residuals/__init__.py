"""How the sub-layers of a layer are wired; one file a wiring.

This list of the axis' parts, in the order of the catalogue, is all that the catalogue reads: a new part is a new line.
"""

# isort: skip_file
from formers.residuals.residual import Block as Block
from formers.residuals.residual import Residual as Residual
from formers.residuals.residual import Sublayer as Sublayer

from formers.residuals.pre_norm import PreNorm as PreNorm
from formers.residuals.post_norm import PostNorm as PostNorm
from formers.residuals.danet import Danet as Danet
from formers.residuals.reversible import Reversible as Reversible
from formers.residuals.gated import Gated as Gated
