"""How tokens exchange information: projections and an op; one file a variant."""

from formers.mixers.dense import Dense
from formers.mixers.features import Elu, Exp, FeatureMap, Relu, SquaredRelu, Taylor2
from formers.mixers.fourier import Fourier
from formers.mixers.identity import Identity
from formers.mixers.linear import Linear
from formers.mixers.metric import Metric
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.pool import Pool
from formers.mixers.quadratic import Quadratic
from formers.mixers.softmax import Softmax

__all__ = [
    "Dense",
    "Elu",
    "Exp",
    "FeatureMap",
    "Fourier",
    "Identity",
    "Linear",
    "Metric",
    "Mixer",
    "MixerModule",
    "Pool",
    "Quadratic",
    "Relu",
    "Softmax",
    "SquaredRelu",
    "Taylor2",
]
