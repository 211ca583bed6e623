"""How a model knows the order of its tokens; one file a position.

This list of the axis' parts, in the order of the catalogue, is all that the catalogue reads: a new part is a new line.
"""

# isort: skip_file
from formers.positions.position import Position as Position
from formers.positions.relative import RelationalPosition as RelationalPosition
from formers.positions.relative import RelativePosition as RelativePosition
from formers.positions.relative import RelativeScores as RelativeScores

from formers.positions.none import NoPosition as NoPosition
from formers.positions.sinusoidal import Sinusoidal as Sinusoidal
from formers.positions.learned import Learned as Learned
from formers.positions.grid import Grid as Grid
from formers.positions.rotary import Rotary as Rotary
from formers.positions.alibi import Alibi as Alibi
from formers.positions.t5 import T5 as T5
from formers.positions.shaw import Shaw as Shaw
from formers.positions.xl import Xl as Xl
from formers.positions.da import Da as Da
from formers.positions.cosine import Cosine as Cosine
