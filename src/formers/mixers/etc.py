"""Extended Transformer construction: a global and a long input, with labels for how two tokens stand to each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.sparse import SparseMixer, check_patterns
from formers.ops import OfPair, PairBias
from formers.part import Site
from formers.patterns import EtcPattern, Pattern


class Etc(Mixer):
    """softmax(q_i·(k_j + a_ℓ)/√K) v_j over a global and a long input, with a learned a_ℓ for the label ℓ of the pair.

    The first `tokens` tokens of a sequence are the global input: put there what stands for the whole or for its pieces,
    such as a [CLS] or one token a sentence. Four pieces, the two of a query in one softmax: global to global, global to
    long and long to global are full, long to long is |i − j| ≤ radius. O(L·(tokens + radius)).

    Labels, per head: within the global and within the long input the distance j − i, clipped to ± `clip`; from global
    to long and back one each, or with `segment` two: whether the long token is of the global token's own segment, the
    g-th `segment` long tokens. Bidirectional only. The projections are the same for all pieces, as in the published
    models.
    Source: Ainslie et al. 2020, arXiv:2004.08483; labels: Shaw et al. 2018, arXiv:1803.02155.
    """

    added = {"hard": False}  # noqa: RUF012
    can = frozenset({"bidirectional", "padding", "qk_position", "score_position"})
    instead = {  # noqa: RUF012
        "causal": "the global input, which stands first, sees all of the long one. Use longformer(), or sparse() over "
        "a pattern"
    }
    tokens: int = 8
    "Tokens at the beginning that are the global input, counted without padding."
    radius: int = 32
    "How far a long token sees to each side among the long ones."
    clip: int = 12
    "The largest distance that has a label of its own; further ones share it."
    segment: int | None = None
    "Long tokens that belong to each global one, in order; None: no long token belongs to any."
    hard: bool = False
    "Whether a global token sees the long tokens of its own `segment` alone (a hard g2l mask), instead of all of them."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        EtcPattern(self.tokens, self.radius)  # has its own conditions
        if self.clip < 0 or (self.segment is not None and self.segment < 1):
            raise ValueError(f"{self}: clip must be at least 0 and segment at least 1")
        if self.hard and self.segment is None:
            raise ValueError(f"{self}: hard needs a segment, of which a global token sees the long tokens")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where all tokens are global input."""
        super().check_site(site)
        check_patterns(self, self.patterns(site), site)

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        return (EtcPattern(self.tokens, self.radius, self.segment if self.hard else None),)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return EtcMixer(site, self)


class EtcMixer(SparseMixer):
    def __init__(self, site: Site, part: Etc):
        super().__init__(site, part.patterns(site), bias=part.bias)
        self.labels = Labels(part, site)

    def pair_bias(self, q_bhlk: Tensor, k_bgsk: Tensor, positions_bl: Tensor) -> PairBias:
        """Return the labels' part of the scores, and the position's where there is one."""
        position, labels = super().pair_bias(q_bhlk, k_bgsk, positions_bl), self.labels
        scores_bhlc = labels(q_bhlk)

        def bias(b: int, q_nl: Tensor, k_ns: Tensor) -> Tensor:
            label_nls = labels.between(q_nl[:, :, None], k_ns[:, None, :])
            rows_hnlc = scores_bhlc[b][:, q_nl]
            found = rows_hnlc.gather(3, label_nls.expand(len(rows_hnlc), *label_nls.shape)).transpose(0, 1)
            return found if position is None else found + position(b, q_nl, k_ns)

        def by_pair() -> OfPair:
            def of_label(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
                return scores_bhlc[b, h, q, labels.between(q, k)]

            if position is None or position.by_pair is None:
                return of_label
            of_position = position.by_pair()
            return lambda b, h, q, k: of_label(b, h, q, k) + of_position(b, h, q, k)

        depends_on = (scores_bhlc, *(position.depends_on if position is not None else ()))
        return PairBias(bias, depends_on, by_pair if position is None or position.by_pair is not None else None)


class Labels(nn.Module):
    """Labels of pairs of tokens, and what they add to the score: q·a_ℓ/√K for every label, (B, H, L, labels)."""

    def __init__(self, part: Etc, site: Site):
        super().__init__()
        self.part = part
        self.across = 1 if part.segment is None else 2
        count = 2 * (2 * part.clip + 1) + 2 * self.across
        self.key_hkc = nn.Parameter(torch.empty(site.heads, site.head_width, count))
        self.init_weights(0.02)

    def forward(self, q_bhlk: Tensor) -> Tensor:
        return q_bhlk @ self.key_hkc.to(q_bhlk.dtype) * q_bhlk.shape[3] ** -0.5

    def between(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        """Return the labels: distances in the long input, in the global one, then global to long, long to global."""
        part, distances = self.part, 2 * self.part.clip + 1
        near = (k_idx - q_idx).clamp(-part.clip, part.clip) + part.clip
        q_global, k_global = q_idx < part.tokens, k_idx < part.tokens
        across = torch.where(q_global, 2 * distances, 2 * distances + self.across)
        if part.segment is not None:
            first, second = torch.minimum(q_idx, k_idx), torch.maximum(q_idx, k_idx)
            across = across + ((second - part.tokens).div(part.segment, rounding_mode="floor") == first)
        return torch.where(q_global == k_global, near + distances * k_global, across)

    def init_weights(self, std: float) -> None:
        nn.init.normal_(self.key_hkc, std=std)
