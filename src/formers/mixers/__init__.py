"""How tokens exchange information: hidden states in, hidden states out; one file a mixer.

Feature maps of linear attention, an axis of their own, are here too.

A mixer's module turns hidden states x into `y, state = mixer(x, state, mask_bl=…, positions_bl=…)`. Most work per head,
in three steps that a subclass may override one by one (`qkv.py`):

    project   x → queries, keys and values per head, with the position on queries and keys
    attend    queries, keys, values and a `Context` → y per head, and the state after the last token
    finish    y per head → (B, L, D)

Names of tensors end in their axes, one letter each:

    B  rows of the batch           D  model width
    H  heads                       K  width of a head's queries and keys
    G  heads of keys and values    V  width of a head's values
    L  tokens, queries             M  features of linear attention
    S  keys                        C  clusters or labels
    R  rounds of hashing           N  windows

This list of the axis' parts, in the order of the catalogue, is all that the catalogue reads: a new part is a new line.
"""

# isort: skip_file
from formers.mixers.mixer import Mixer as Mixer
from formers.mixers.mixer import MixerModule as MixerModule
from formers.mixers.memory import MemoryInput as MemoryInput
from formers.mixers.memory import MixerMemory as MixerMemory
from formers.mixers.documents import Documents as Documents
from formers.mixers.feature_maps import FeatureMap as FeatureMap

from formers.mixers.softmax import Softmax as Softmax
from formers.mixers.quadratic import Quadratic as Quadratic
from formers.mixers.metric import Metric as Metric
from formers.mixers.dense import Dense as Dense
from formers.mixers.linear import Linear as Linear
from formers.mixers.windowed_linear import WindowedLinear as WindowedLinear
from formers.mixers.performer import Performer as Performer
from formers.mixers.rfa import Rfa as Rfa
from formers.mixers.sparse import Sparse as Sparse
from formers.mixers.longformer import Longformer as Longformer
from formers.mixers.adaptive_span import AdaptiveSpan as AdaptiveSpan
from formers.mixers.bigbird import BigBird as BigBird
from formers.mixers.etc import Etc as Etc
from formers.mixers.sparse_transformer import SparseTransformer as SparseTransformer
from formers.mixers.image_local import ImageLocal as ImageLocal
from formers.mixers.blockwise_attention import BlockwiseAttention as BlockwiseAttention
from formers.mixers.local_dense import LocalDense as LocalDense
from formers.mixers.sliding_dense import SlidingDense as SlidingDense
from formers.mixers.linformer import Linformer as Linformer
from formers.mixers.lsh import Lsh as Lsh
from formers.mixers.routing import Routing as Routing
from formers.mixers.fourier import Fourier as Fourier
from formers.mixers.pool import Pool as Pool
from formers.mixers.identity import Identity as Identity

from formers.mixers.feature_maps import Elu as Elu
from formers.mixers.feature_maps import Relu as Relu
from formers.mixers.feature_maps import SquaredRelu as SquaredRelu
from formers.mixers.feature_maps import Exp as Exp
from formers.mixers.feature_maps import Taylor2 as Taylor2
from formers.mixers.learned_features import Hedgehog as Hedgehog
from formers.mixers.learned_features import T2r as T2r
from formers.mixers.favor import Favor as Favor
from formers.mixers.random_features import RandomFourier as RandomFourier
from formers.mixers.random_features import ArcCosine as ArcCosine
