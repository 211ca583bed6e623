"""How a model knows the order of its tokens; one file a variant."""

from formers.positions.alibi import Alibi
from formers.positions.cosine import Cosine
from formers.positions.learned import Learned
from formers.positions.position import NoPosition, Position
from formers.positions.rotary import Rotary
from formers.positions.sinusoidal import Sinusoidal

__all__ = ["Alibi", "Cosine", "Learned", "NoPosition", "Position", "Rotary", "Sinusoidal"]
