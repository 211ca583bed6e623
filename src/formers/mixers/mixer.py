"""The mixer axis: how tokens exchange information."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import ClassVar, Self, cast

import torch
from torch import Tensor

from formers.part import Part, SharingModule, Site, State, Unsupported
from formers.positions.position import build_at


class Mixer(Part):
    """How tokens exchange information: hidden states in, hidden states out."""

    instead: ClassVar[dict[str, str]] = {}
    "For an ability that is missing: why, and what to use instead."

    @classmethod
    def parse(cls, text: str) -> Self:
        """The mixer that a text means; a pattern such as `window(128) | global(0)` means `sparse` over it."""
        from formers.mixers.sparse import Sparse  # a mixer itself
        from formers.patterns import PATTERNS, Pattern

        first = re.match(r"[~(\s]*(\w*)", text)
        patterns, mixers = ({kind.name() for kind in kinds} for kinds in (PATTERNS, cls.kinds()))
        if cls is Mixer and first and first[1] in patterns - mixers:
            return cast(Self, Sparse(pattern=Pattern.parse(text)))
        if cls is Mixer and first and not get_close_matches(first[1], mixers, n=1, cutoff=0.5):
            near = get_close_matches(first[1], patterns, n=1, cutoff=0.5)
            if near and first[1] not in {kind.__name__ for kind in cls.kinds()}:
                raise ValueError(f"mixer has no member {first[1]!r}; did you mean the pattern {near[0]!r}?")
        return super().parse(text)

    def build(self, site: Site) -> MixerModule:
        """The module for this site. Raises `Unsupported` where the part cannot do what the site asks."""
        self.check_site(site)
        module = self.module(site)
        module.refusal = "" if "streaming" in self.abilities else self.no_state()
        return module

    def no_state(self) -> str:
        """What is said where a state is given to, or asked of, a mixer that does not stream."""
        why = self.instead.get("streaming", "")
        return f"{self} has no streaming state{f': {why}' if why else ''}"

    def module(self, site: Site) -> MixerModule:
        """Makes the module; the site has been checked. Every mixer overrides this."""
        raise NotImplementedError

    def growth(self) -> float:
        """The power of the length that the operations of a forward pass grow with: 1 = linear, 2 = every pair."""
        raise NotImplementedError(f"{self.name()} does not say how its cost grows with the length; define growth()")

    def check_site(self, site: Site) -> None:
        """Raises `Unsupported` unless the mixer can be causal (or bidirectional) here and take the site's position."""
        direction = "causal" if site.causal else "bidirectional"
        self.require(direction, why=self.instead.get(direction, ""))
        place = site.position.acts_on if site.position else "nothing"
        needed = {"heads": "qk_position", "scores": "score_position"}.get(place)
        if needed and needed not in self.abilities:
            what = {"heads": "queries and keys", "scores": "attention scores"}[place]
            raise Unsupported(
                f"{self} cannot take position {site.position}: it acts on {what}, and {self.name()} forms none. "
                "Use a position that acts elsewhere: sinusoidal(), learned(), cosine() or none()"
            )


class MixerModule(SharingModule):
    """A built mixer: `y, state = mixer(x, state)`.

    Args of `forward`:
        x_bld: hidden states of the new tokens, (B, L, D).
        state: what came before, or None at the start. Only streaming mixers take one.
        mask_bl: True = a real token, False = padding, (B, L); None = all real.
        positions_bl: position of each token, (B, L) or (1, L). None counts the real tokens, on from the state.
    Returns:
        y (B, L, D), and the state after the last token (None where the mixer keeps none, as bidirectional ones).
    """

    refusal: str = ""
    "Why no state is taken; empty where one is."

    def __init__(self, site: Site):
        super().__init__()
        self.causal = site.causal
        self.layer_position = build_at("layer", site)

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        raise NotImplementedError

    def enter(
        self, x_bld: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What every mixer begins with: silences padding, finds the positions, applies one that acts on the layer."""
        if state is not None and not self.causal:
            raise ValueError("a bidirectional mixer takes no state: tokens still to come would change its outputs")
        if state is not None and self.refusal:
            raise Unsupported(self.refusal)
        if mask_bl is not None:
            x_bld = x_bld.masked_fill(~mask_bl.unsqueeze(-1), 0)  # whatever padding holds, NaN too, it is gone here
        if positions_bl is None:
            positions_bl = count_tokens(x_bld, mask_bl, state) - 1
        if self.layer_position is not None:
            x_bld = self.layer_position(x_bld, positions_bl)
        return x_bld, positions_bl

    def init_weights(self, std: float) -> None:
        """Sets the parameters that want another start than N(0, std²) for linear weights and 0 for biases."""


def count_tokens(x_bld: Tensor, mask_bl: Tensor | None, state: State | None) -> Tensor:
    """Real tokens up to and including each one, those in the state too: (B or 1, L), int64."""
    if mask_bl is None:
        counts_bl = torch.arange(1, x_bld.shape[1] + 1, device=x_bld.device).unsqueeze(0)
    else:
        counts_bl = mask_bl.long().cumsum(-1)
    counts_bl = counts_bl if state is None else counts_bl + state.seen_b.unsqueeze(-1)
    return counts_bl if mask_bl is None else counts_bl.clamp(min=1)


def seen_after(x_bld: Tensor, mask_bl: Tensor | None, state: State | None) -> Tensor:
    """`State.seen_b` after these tokens, (B,)."""
    if mask_bl is not None:
        new_b = mask_bl.long().sum(-1)
        return new_b if state is None else new_b + state.seen_b
    batch, length, _ = x_bld.shape
    return torch.full((batch,), length, device=x_bld.device) if state is None else state.seen_b + length


def split_heads(x_bld: Tensor, heads: int) -> Tensor:
    """(B, L, H·K) → (B, H, L, K)."""
    return x_bld.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x_bhlk: Tensor) -> Tensor:
    """(B, H, L, K) → (B, L, H·K)."""
    return x_bhlk.transpose(1, 2).flatten(2)
