"""How tokens exchange information: projections and an op; one file a variant."""

from formers.mixers.bigbird import BigBird
from formers.mixers.blockwise_attention import BlockwiseAttention
from formers.mixers.dense import Dense
from formers.mixers.etc import Etc
from formers.mixers.feature_maps import Elu, Exp, FeatureMap, Relu, SquaredRelu, Taylor2
from formers.mixers.fourier import Fourier
from formers.mixers.identity import Identity
from formers.mixers.image_local import ImageLocal
from formers.mixers.linear import Linear
from formers.mixers.linformer import Linformer
from formers.mixers.local_dense import LocalDense
from formers.mixers.longformer import Longformer
from formers.mixers.lsh import Lsh
from formers.mixers.metric import Metric
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.performer import Performer
from formers.mixers.pool import Pool
from formers.mixers.quadratic import Quadratic
from formers.mixers.random_features import ArcCosine, Favor, RandomFourier
from formers.mixers.rfa import Rfa
from formers.mixers.routing import Routing
from formers.mixers.sliding_dense import SlidingDense
from formers.mixers.softmax import Softmax
from formers.mixers.sparse import Sparse
from formers.mixers.sparse_transformer import SparseTransformer

__all__ = [
    "ArcCosine",
    "BigBird",
    "BlockwiseAttention",
    "Dense",
    "Elu",
    "Etc",
    "Exp",
    "Favor",
    "FeatureMap",
    "Fourier",
    "Identity",
    "ImageLocal",
    "Linear",
    "Linformer",
    "LocalDense",
    "Longformer",
    "Lsh",
    "Metric",
    "Mixer",
    "MixerModule",
    "Performer",
    "Pool",
    "Quadratic",
    "RandomFourier",
    "Relu",
    "Rfa",
    "Routing",
    "SlidingDense",
    "Softmax",
    "Sparse",
    "SparseTransformer",
    "SquaredRelu",
    "Taylor2",
]
