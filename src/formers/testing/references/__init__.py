"""References: an independent float64 form of each whole part, written from its formula.

The law `same_as_reference` compares a part with its reference: projections, scale, position, state and all. Each part
of this library has one here, one file a family. Yours has one as soon as it is registered:

    @reference(MyMixer)
    def my_mixer(part, site, weights, x_bld, positions_bl):
        "The formula, in loops and dense algebra."
        ...

Arguments, by axis; everything is float64, and there is no padding (the law takes it out, row by row):

    mixer, input or layer position   (part, site, weights, x_bld, positions_bl) → y_bld
    position on heads                (part, site, weights, x_bhlk, positions_bl) → x_bhlk
    position on scores or weights    (part, site, weights, scores, q_bhlk, k_bhlk, positions_bl) → `Related`
    norm, ffn                        (part, site, weights, x) → y
    feature                          (part, site, weights, q_bhlk, k_bhsk) → φ(q)·φ(k), (B, H, L, S)
    computation                      (part, site, stack, x_bld) → y_bld; `stack` has the layers of `Stack`
    residual                         (part, site, layer, x_bld) → y_bld; `layer` has the functions of `Sublayers`
    memory                           (part, site, weights, segments, positions_bl) → outputs of each segment x_bld, of
                                     softmax attention with the memory; positions are those of all
    pattern                          (part, i, j, length, causal, layer) → whether query i sees key j

`weights` is the state dict of the part's module; `positions_bl` the position of each token. `site.position` is applied
with `on_layer`, `on_heads` and `related`. A reference shares no code with the library; it reads a part's options.
"""

from formers.testing.references import (
    attention,
    buckets,
    computation,
    dense,
    features,
    ffn,
    linear,
    linformer,
    memories,
    norms,
    patterns,
    positions,
    residuals,
    sparse,
    token_mixing,
)
from formers.testing.references.algebra import Weights, attend, everything, heads_of, project, side_by_side, under
from formers.testing.references.computation import Stack
from formers.testing.references.hosts import Hosted, hosted
from formers.testing.references.positions import Related, on_heads, on_layer, related
from formers.testing.references.registry import Reference, has_reference, reference, reference_of, with_reference
from formers.testing.references.residuals import Sublayers

__all__ = [
    "Hosted",
    "Reference",
    "Related",
    "Stack",
    "Sublayers",
    "Weights",
    "attend",
    "attention",
    "buckets",
    "computation",
    "dense",
    "everything",
    "features",
    "ffn",
    "has_reference",
    "heads_of",
    "hosted",
    "linear",
    "linformer",
    "memories",
    "norms",
    "on_heads",
    "on_layer",
    "patterns",
    "positions",
    "project",
    "reference",
    "reference_of",
    "related",
    "residuals",
    "side_by_side",
    "sparse",
    "token_mixing",
    "under",
    "with_reference",
]
