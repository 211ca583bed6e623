"""How a model knows the order of its tokens; one file a position.

This list of the axis' parts, in the order of the catalogue, is all that the catalogue reads: a new part is a new line.
"""

# isort: skip_file
from formers.positions.position import Position as Position

from formers.positions.none import NoPosition as NoPosition
from formers.positions.sinusoidal import Sinusoidal as Sinusoidal
from formers.positions.learned import Learned as Learned
from formers.positions.rotary import Rotary as Rotary
from formers.positions.alibi import Alibi as Alibi
from formers.positions.cosine import Cosine as Cosine
