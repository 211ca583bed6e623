"""Reformer's attention: buckets by locality-sensitive hashing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.mixers.heads import split_heads
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, HeadMixer
from formers.ops import accumulation_dtype, bucketed_attention, without_autocast
from formers.part import Site, State


class Lsh(Mixer):
    """Attention among tokens of like hash: shared queries and keys, k_j = q_j/|q_j|, softmax over those in i's bucket.

    h(x) = argmax [xR; −xR] with random R, drawn anew in each training pass and fixed in eval; in each of several
    rounds, tokens meet nearby ones in their bucket (see `bucketed_attention`: in a causal model the `chunk`
    tokens before, so that no later token changes who meets whom). A token attends to itself only where it meets no
    other. More than 32 buckets are a product of two hashes. O(rounds·L·(log L + chunk·K)). Causal models do not stream:
    each step starts anew, as the tokens that the next one may meet, the last `chunk` of every bucket, are as a rule all
    there were.
    Source: Kitaev et al. 2020 (Reformer), arXiv:2001.04451.
    """

    can = frozenset({"causal", "bidirectional", "padding", "qk_position"})
    instead = {  # noqa: RUF012
        "streaming": "the tokens that a later one may meet, the last of every bucket in every round, are as a rule all "
        "there were, so that a state would save nothing. Generate without a cache, or use linear(), performer() or "
        "sparse()"
    }
    rounds: int = 4
    "Independent hashes; each brings the result closer to that of full attention."
    chunk: int = 64
    "Tokens that are attended to at once."
    buckets: int | None = None
    """1 or an even number; unless given, the power of two nearest to 2·context_length/chunk from above. Not by the
    sequence's own length, which is still unknown while a causal model reads."""

    def check(self) -> None:
        if self.rounds < 1 or self.chunk < 1:
            raise ValueError(f"lsh: rounds and chunk must be at least 1, but {self.rounds} and {self.chunk} were given")
        if self.buckets is not None and self.buckets != 1 and (self.buckets < 2 or self.buckets % 2):
            raise ValueError(f"lsh: buckets must be 1 or even, as hashes come in pairs ±, but {self.buckets} was given")

    def growth(self) -> float:
        return 1.0  # and a factor log L, of the sort

    def factors(self, context_length: int) -> list[int]:
        """Return even numbers of buckets whose product is the number of all."""
        if self.buckets is not None:
            return [] if self.buckets == 1 else [self.buckets]
        bits = max((2 * context_length // self.chunk - 1).bit_length(), 0)
        if bits > 5:
            return [2 ** (bits - bits // 2), 2 ** (bits // 2)]
        return [2**bits] if bits else []

    def module(self, site: Site) -> MixerModule:
        return LshMixer(site, self)


class LshMixer(HeadMixer):
    moves_in_training = True  # each pass draws a hash, which all documents share
    rotations_rhkc: Tensor
    "R of every round and head: the hash of eval mode, saved."

    def __init__(self, site: Site, part: Lsh):
        super().__init__(site)
        self.part, self.factors = part, part.factors(site.context_length)
        self.q_proj = nn.Linear(site.width, site.width, bias=False)
        self.v_proj = nn.Linear(site.width, site.width, bias=False)
        self.o_proj = nn.Linear(site.width, site.width, bias=False)
        columns = sum(self.factors) // 2
        self.register_buffer("rotations_rhkc", torch.empty(part.rounds, site.heads, site.head_width, columns))
        self.init_weights(0.0)

    def project(self, context: Context) -> QKV:
        """Return queries, which are the keys, too, and values."""
        q_bhlk = self.apply_position(split_heads(self.q_proj(context.x_bld), self.heads), context.positions_bl)
        return QKV(q_bhlk, q_bhlk, split_heads(self.v_proj(context.x_bld), self.heads))

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        y_bhlv = bucketed_attention(
            qkv.q,
            None,
            qkv.v,
            self.hash(qkv.q.detach()),
            chunk=self.part.chunk,
            causal=self.causal,
            key_mask_bl=context.mask_bl,
            self_last=True,
        )
        return y_bhlv, None

    def hash(self, x_bhlk: Tensor) -> Tensor:
        """Return the bucket of each token in each round, (B, H, R, L)."""
        rotations = torch.randn_like(self.rotations_rhkc) if self.training else self.rotations_rhkc
        return _hashes(x_bhlk, rotations, self.factors)

    @torch.no_grad()
    def init_weights(self, std: float) -> None:
        self.rotations_rhkc.normal_()


def _hashes(x_bhlk: Tensor, rotations_rhkc: Tensor, factors: list[int]) -> Tensor:
    """Return argmax [xR; −xR] for each factor's columns of R, combined to one number, (B, H, R, L)."""
    rounds, _, _, columns = rotations_rhkc.shape
    with without_autocast(x_bhlk.device):
        work = accumulation_dtype(x_bhlk.dtype)
        all_rounds_hkx = rotations_rhkc.to(work).permute(1, 2, 0, 3).flatten(2)  # one product for all rounds
        p_bhlrc = (x_bhlk.to(work) @ all_rounds_hkx).unflatten(3, (rounds, columns))
    bucket_bhlr = torch.zeros(p_bhlrc.shape[:-1], dtype=torch.long, device=x_bhlk.device)
    for p, factor in zip(p_bhlrc.split([f // 2 for f in factors], -1), factors, strict=True):
        nearest = p.abs().argmax(-1)
        behind = p.gather(-1, nearest.unsqueeze(-1)).squeeze(-1) < 0
        bucket_bhlr = bucket_bhlr * factor + nearest + behind * (factor // 2)
    return bucket_bhlr.transpose(2, 3)
