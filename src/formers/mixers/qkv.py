"""What mixers with queries, keys and values share."""

from __future__ import annotations

from torch import Tensor, nn

from formers.mixers.mixer import MixerModule, join_heads, split_heads
from formers.part import Site, State
from formers.positions.position import build_at


class HeadMixer(MixerModule):
    """Projects to queries, keys and values per head, lets `mix` exchange information, and projects back."""

    def __init__(self, site: Site, *, kv_heads: int | None = None, bias: bool = False):
        super().__init__(site)
        width, head_width = site.width, site.head_width
        self.heads, self.kv_heads = site.heads, site.heads if kv_heads is None else kv_heads
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide the {self.heads} heads, but {self.kv_heads} was given")
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, self.kv_heads * head_width, bias=bias)
        self.v_proj = nn.Linear(width, self.kv_heads * head_width, bias=bias)
        self.o_proj = nn.Linear(width, width, bias=bias)
        self.head_position = build_at("heads", site)

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, positions_bl = self.enter(x_bld, state, mask_bl, positions_bl)
        q_bhlk = split_heads(self.q_proj(x_bld), self.heads)
        k_bglk = split_heads(self.k_proj(x_bld), self.kv_heads)
        v_bglk = split_heads(self.v_proj(x_bld), self.kv_heads)
        if self.head_position is not None:
            q_bhlk, k_bglk = self.head_position(q_bhlk, positions_bl), self.head_position(k_bglk, positions_bl)
        y_bhlv, state = self.mix(q_bhlk, k_bglk, v_bglk, state, mask_bl, positions_bl)
        return self.o_proj(join_heads(y_bhlv)), state

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor
    ) -> tuple[Tensor, State | None]:
        """y (B, H, L, V) from queries (B, H, L, K), keys and values (B, G, L, K or V), and the state after them."""
        raise NotImplementedError
