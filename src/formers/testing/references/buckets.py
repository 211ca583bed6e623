"""References of the mixers whose content chooses the pairs: LSH attention, routing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from formers.mixers import Lsh, Routing
from formers.part import Site
from formers.testing.references.algebra import Weights, attend, heads_of, project, side_by_side
from formers.testing.references.positions import on_heads, on_layer
from formers.testing.references.registry import reference


@reference(Lsh)
def lsh(part: Lsh, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(q_i·k_j/√K) v_j, k_j = q_j/|q_j|, over the tokens that i meets in any round, itself if no other."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    q, v = (heads_of(project(weights, f"{name}_proj", x_bld), site.heads) for name in "qv")
    q = on_heads(site, weights, q, positions_bl)
    k = q / torch.sqrt((q**2).sum(-1, keepdim=True) + 1e-12)
    met = torch.stack([_met_in_rounds(part, site, weights, row) for row in q.detach()])
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])
    return project(weights, "o_proj", side_by_side(attend(scores, _itself_last(met), v)))


def _met_in_rounds(part: Lsh, site: Site, weights: Weights, q_hlk: Tensor) -> Tensor:
    """Return which tokens of one row meet in any round, (H, L, L) bool."""
    sizes = _hash_sizes(part, site)
    rotations_rhkc = weights["rotations_rhkc"]
    met = torch.zeros(len(q_hlk), q_hlk.shape[1], q_hlk.shape[1], dtype=torch.bool)
    for h, q_lk in enumerate(q_hlk):
        for rotation_kc in rotations_rhkc[:, h]:
            met[h] |= _near(_buckets(q_lk @ rotation_kc, sizes), part.chunk, site.causal)
    return met


def _hash_sizes(part: Lsh, site: Site) -> list[int]:
    """Return the numbers of buckets of the hashes that are combined: one up to 32 buckets, from there two."""
    if part.buckets is not None:
        return [part.buckets] if part.buckets > 1 else []
    count = 1
    while count < 2 * site.context_length // part.chunk:
        count *= 2
    if count <= 32:
        return [count] if count > 1 else []
    second = 2
    while second**2 * 4 <= count:
        second *= 2
    return [count // second, second]


def _buckets(rotated_lc: Tensor, sizes: list[int]) -> list[int]:
    """Return the bucket of each token, argmax [xR; −xR] of each hash in turn."""
    bucket_l, start = torch.zeros(len(rotated_lc), dtype=torch.long), 0
    for size in sizes:
        x_r = rotated_lc[:, start : start + size // 2]
        bucket_l = bucket_l * size + torch.cat([x_r, -x_r], 1).argmax(1)
        start += size // 2
    return bucket_l.tolist()


def _near(buckets: list[int], chunk: int, causal: bool) -> Tensor:
    """Return which tokens meet: in one bucket, with places p in the order of (bucket, position) at most a chunk apart.

    Causal: 0 ≤ p_i − p_j ≤ chunk; bidirectional: p_j in the chunk of p_i, or in the one before.
    """
    order = sorted(range(len(buckets)), key=lambda i: (buckets[i], i))
    place, bucket = torch.tensor([order.index(i) for i in range(len(buckets))]), torch.tensor(buckets)
    chunks = place[:, None] // chunk - place[None, :] // chunk
    back = place[:, None] - place[None, :]
    near = (back >= 0) & (back <= chunk) if causal else (chunks == 0) | (chunks == 1)
    return near & (bucket[:, None] == bucket[None, :])


def _itself_last(met: Tensor) -> Tensor:
    """Return the pairs with a token beside itself only where it meets no other."""
    itself = torch.eye(met.shape[-1], dtype=torch.bool)
    others = met & ~itself
    return others | (met & itself & ~others.any(-1, keepdim=True))


@reference(Routing)
def routing(part: Routing, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """The first heads attend to neighbours, the others within clusters of scale-free vectors."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    clusters = part.clusters if part.clusters is not None else max(round(math.sqrt(site.context_length)), 1)
    window = part.window if part.window is not None else math.ceil(site.context_length / clusters)
    local = site.heads // 2 if part.local_heads is None else part.local_heads
    if part.top is not None and site.layer < site.layers - part.top:
        local = site.heads
    q, v = (heads_of(project(weights, f"{name}_proj", x_bld), site.heads) for name in "qv")
    q, ys = on_heads(site, weights, q, positions_bl), []
    k = q[:, :0]
    if "k_proj.weight" in weights:
        own = len(weights["k_proj.weight"]) // q.shape[3]
        k = on_heads(site, weights, heads_of(project(weights, "k_proj", x_bld), own), positions_bl)
    if local:
        near = _near([0] * x_bld.shape[1], window, site.causal)
        ys.append(attend(_scores(q[:, :local], k[:, :local]), near, v[:, :local]))
    if local < site.heads:
        far_q, far_v = _scale_free(q[:, local:]), v[:, local:]
        far_k = _scale_free(k[:, local:]) if k.shape[1] > local else None
        mu_hck = weights["centroids.mu_hck"]
        if part.select == "nearest":
            ys.append(_within_nearest(mu_hck, far_q, far_v, window, site.causal))
        else:
            ys.append(_within_picked(mu_hck, far_q, far_k, far_v, window, site.causal))
    return project(weights, "o_proj", side_by_side(torch.cat(ys, 1)))


def _scale_free(x: Tensor) -> Tensor:
    """Return (x − mean)/√(variance + 10⁻⁵), per head."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred**2).mean(-1, keepdim=True) + 1e-5) ** 0.5


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])


def _within_nearest(mu_hck: Tensor, q: Tensor, v: Tensor, window: int, causal: bool) -> Tensor:
    """Return attention among the tokens whose nearest centroid is the same, with keys equal to queries."""
    nearest = torch.einsum("bhlk,hck->bhlc", q.detach(), mu_hck).argmax(-1).tolist()
    met = torch.stack([torch.stack([_near(buckets, window, causal) for buckets in row]) for row in nearest])
    return attend(_scores(q, q), _itself_last(met), v)


def _within_picked(mu_hck: Tensor, q: Tensor, k: Tensor | None, v: Tensor, window: int, causal: bool) -> Tensor:
    """Return attention of the queries nearest to each centroid to the keys nearest to it; a mean over clusters."""
    length, keys = q.shape[2], q if k is None else k
    total, count = torch.zeros_like(v), torch.zeros(*v.shape[:3], 1, dtype=v.dtype)
    past = torch.ones(length, length, dtype=torch.bool)
    past = past.tril() if causal else past
    for c in range(mu_hck.shape[1]):
        asks, shows = (_picked(mu_hck[:, c], t.detach(), min(window, length)) for t in (q, keys))
        seen = asks[..., :, None] & shows[..., None, :] & past
        total = total + attend(_scores(q, keys), _itself_last(seen) if k is None else seen, v)
        count = count + asks[..., None]
    return total / torch.where(count > 0, count, 1.0)


def _picked(mu_hk: Tensor, x_bhlk: Tensor, window: int) -> Tensor:
    """Return which tokens are among the `window` nearest to the centroid of each head, (B, H, L) bool."""
    nearness = torch.einsum("bhlk,hk->bhl", x_bhlk, mu_hk)
    rank = (nearness[..., None, :] > nearness[..., :, None]).sum(-1)
    return rank < window
