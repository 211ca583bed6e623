"""The Routing Transformer's attention: clusters by online k-means."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers.centroids import Centroids
from formers.mixers.context import Context
from formers.mixers.heads import check_head_count, split_heads
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, HeadMixer
from formers.ops import bucketed_attention, clustered_attention
from formers.part import Site, State, Unsupported, add_loss


class Routing(Mixer):
    """Softmax attention among tokens of one cluster in some heads, and among neighbours in the others. O(L^1.5·K).

    Clusters are those of an online k-means over scale-free (layer-normed) vectors. `select` decides which tokens are in
    one:

    nearest: each token is in its nearest cluster, with keys equal to queries, and sees the last `window` tokens there
    (bidirectional: those of its chunk of `window` and the one before); itself only where it meets no other. A token's
    cluster depends on itself alone, so a causal model is strictly causal.

    balanced: each cluster picks the `window` queries and the `window` keys nearest to it; results of a token picked by
    several are averaged, one picked by none gives zero. As published, but a causal model sees the future: whether a
    token is picked depends on how near later ones come. A causal site raises unless `leaks` says that this is
    understood; keys equal queries there, and a token sees itself only where it meets no other.

    As published for long texts, only the last layers route, with half of their heads: `routing(top=2)`; all other heads
    are local. The local heads see the `window` tokens before (bidirectional: their chunk of `window` and the one
    before). No streaming: the tokens that the next one may meet, the last `window` of every cluster, are as a rule all
    there were.

    Centroids are unit vectors: μ ← direction of decay·μ + (1 − decay)·m, m the direction of the mean of queries (and
    keys, where they differ) nearest to μ; at the first step m alone. They move in the backward pass. The paper has
    decay·μ + (1 − decay)/2 · (sum of queries + sum of keys). Its code divides a moving average of such sums by one of
    their number, so that centroids have lengths, which weigh in the choice of the nearest; moves them in the forward
    pass; and adds |x − μ|² to the loss, as `commitment` does here for unit vectors.
    Source: Roy et al. 2021, arXiv:2003.05997.
    """

    added = {"commitment": 0.0}  # noqa: RUF012

    can = frozenset({"causal", "bidirectional", "padding", "qk_position"})
    instead = {  # noqa: RUF012
        "streaming": "the tokens that a later one may meet, the last of every cluster, are as a rule all there were, "
        "so that a state would save nothing. Generate without a cache, or use linear(), performer() or sparse()"
    }
    clusters: int | None = None
    "√context_length unless given."
    window: int | None = None
    "Tokens to attend to in a cluster or nearby; context_length/clusters unless given."
    select: Literal["nearest", "balanced"] = "nearest"
    "Which tokens are in a cluster: see above."
    leaks: bool = False
    "Accepts that `balanced` shows a causal model something of the future."
    local_heads: int | None = None
    "Heads that attend to neighbours; half of them, rounded down, unless given."
    top: int | None = None
    "Number of last layers that route; in those below, all heads are local. All route unless given."
    decay: float = 0.999
    "How much of a centroid stays in one training step."
    commitment: float = 0.0
    """Weight of the mean |x/|x| − μ|² to the nearest centroid in the training loss, which draws vectors to their
    centroids."""

    def check(self) -> None:
        if any(n is not None and n < 1 for n in (self.clusters, self.window)):
            raise ValueError(f"routing: clusters and window must be positive; got {self.clusters} and {self.window}")
        if self.top is not None and self.top < 0:
            raise ValueError(f"routing: top must be at least 0, but {self.top} was given")
        check_head_count(self, "local_heads", 0)
        if not 0 <= self.decay < 1:
            raise ValueError(f"routing: decay must lie in [0, 1), but {self.decay} was given")
        if self.commitment < 0:
            raise ValueError(f"routing: commitment must be at least 0, but {self.commitment} was given")
        if self.leaks and self.select != "balanced":
            raise ValueError("routing: leaks=True is for select='balanced'; select='nearest' does not leak")

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`; where a cluster picks by what comes later, only bidirectional, or with `leaks` only causal."""
        return self.can - {"bidirectional" if self.leaks else "causal"} if self.select == "balanced" else self.can

    def check_site(self, site: Site) -> None:
        if site.causal and self.select == "balanced" and not self.leaks:
            raise Unsupported(
                f"{self} cannot be causal: a cluster takes the tokens nearest to it, so a later token can push an "
                "earlier one out. Use select='nearest', which is strictly causal, or leaks=True to accept that"
            )
        if not site.causal and self.leaks:
            raise Unsupported(f"{self}: leaks is for a causal model, and a bidirectional one sees all; leave it out")
        super().check_site(site)
        if self.top is not None and self.top > site.layers:
            raise Unsupported(f"{self}: top={self.top} layers are to route, but the model has {site.layers}")
        if self.top == 0 or self.local_heads == site.heads:
            idle = ("select", "decay", "commitment", "local_heads" if self.top == 0 else "top")
            if given := [name for name in idle if getattr(self, name) != getattr(type(self), name)]:
                raise Unsupported(f"{self}: {' and '.join(given)} have no effect where no head routes; leave them out")

    def growth(self) -> float:
        if self.clusters is None:
            return 1.5
        return 2.0 if self.window is None else 1.0

    def module(self, site: Site) -> MixerModule:
        return RoutingMixer(site, self)


class RoutingMixer(HeadMixer):
    def __init__(self, site: Site, part: Routing):
        super().__init__(site)
        clusters = part.clusters if part.clusters is not None else max(round(math.sqrt(site.context_length)), 1)
        self.commitment = part.commitment
        self.window = part.window if part.window is not None else -(-site.context_length // clusters)
        self.balanced = part.select == "balanced"
        self.local = _local_heads(part, site)
        width, head_width = site.width, site.head_width
        own_keys = site.heads if self.balanced and not site.causal else self.local
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, own_keys * head_width, bias=False) if own_keys else None
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.centroids: Centroids | None = None
        if self.local < site.heads:
            self.centroids = Centroids(site.heads - self.local, clusters, head_width, part.decay)
        self.moves_in_training = self.centroids is not None  # they move once a pass, on every rank

    def project(self, context: Context) -> QKV:
        """Return queries and values of all heads, and keys of those that have their own, the local ones first."""
        x_bld, positions_bl = context.x_bld, context.positions_bl
        q, v = split_heads(self.q_proj(x_bld), self.heads), split_heads(self.v_proj(x_bld), self.heads)
        k = q[:, :0] if self.k_proj is None else split_heads(self.k_proj(x_bld), self.k_proj.out_features // q.shape[3])
        return QKV(self.apply_position(q, positions_bl), self.apply_position(k, positions_bl), v)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        (q, k, v), mask_bl = qkv, context.mask_bl
        ys = []
        if self.local:
            one_bucket = torch.zeros(q.shape[0], self.local, 1, q.shape[2], dtype=torch.long, device=q.device)
            near = slice(None, self.local)
            ys.append(self.in_buckets(q[:, near], k[:, near], v[:, near], one_bucket, mask_bl))
        if self.centroids is not None:
            far_q, far_k = scale_free(q[:, self.local :]), scale_free(k[:, self.local :])
            route = self.pick if self.balanced else self.join
            ys.append(route(self.centroids, far_q, far_k if far_k.shape[1] else far_q, v[:, self.local :], mask_bl))
        return torch.cat(ys, 1), None

    def in_buckets(self, q: Tensor, k: Tensor, v: Tensor, bucket_bhrl: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Attend among the tokens of one bucket."""
        return bucketed_attention(
            q, k, v, bucket_bhrl, chunk=self.window, causal=self.causal, key_mask_bl=mask_bl, self_last=q is k
        )

    def show(self, centroids: Centroids, *vectors_bhlk: Tensor, mask_bl: Tensor | None) -> None:
        """Let the centroids follow these vectors in training, and draw these to them by a loss of its own."""
        centroids.learn_from(*vectors_bhlk, mask_bl=mask_bl)
        if self.commitment and self.training:
            add_loss("commitment", self.commitment * centroids.distance(*vectors_bhlk, mask_bl=mask_bl))

    def join(self, centroids: Centroids, q: Tensor, k: Tensor, v: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Attend in clusters, each token in the one nearest to it."""
        self.show(centroids, q, mask_bl=mask_bl)
        return self.in_buckets(q, k, v, centroids(q.detach()).argmax(-1).unsqueeze(2), mask_bl)

    def pick(self, centroids: Centroids, q: Tensor, k: Tensor, v: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Attend in clusters, each with the queries and the keys nearest to it."""
        self.show(centroids, *((q,) if q is k else (q, k)), mask_bl=mask_bl)
        queries, keys = (self.nearest(centroids(t.detach()), mask_bl) for t in (q, k))
        return clustered_attention(q, k, v, queries, keys, causal=self.causal, key_mask_bl=mask_bl, self_last=q is k)

    def nearest(self, similarity_bhlc: Tensor, mask_bl: Tensor | None) -> Tensor:
        """Return the positions that each cluster picks, in their order, (B, H, C, w)."""
        if mask_bl is not None:
            similarity_bhlc = similarity_bhlc.masked_fill(~mask_bl[:, None, :, None], -torch.inf)
        count = min(self.window, similarity_bhlc.shape[2])
        return similarity_bhlc.mT.topk(count, -1).indices.sort(-1).values


def _local_heads(part: Routing, site: Site) -> int:
    """Return how many heads of this layer attend to neighbours."""
    local = site.heads // 2 if part.local_heads is None else part.local_heads
    if local > site.heads:
        raise ValueError(f"routing: local_heads must be 0 to {site.heads}, but {part.local_heads} was given")
    return site.heads if part.top is not None and site.layer < site.layers - part.top else local


def scale_free(x_bhlk: Tensor) -> Tensor:
    """Return the layer norm per head, without weights, in the input's dtype: autocast's is float32 on a GPU."""
    return F.layer_norm(x_bhlk, x_bhlk.shape[-1:]).to(x_bhlk.dtype)
