"""The decoder of an encoder–decoder: a causal stack whose layers also read a source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from formers.mixers.context import seen_after
from formers.mixers.cross import CrossMixer
from formers.models.backbone import Transformer
from formers.models.seq2seq_config import Seq2SeqConfig
from formers.part import Site, State, Unsupported
from formers.residuals import Block, Sublayer


@dataclass(frozen=True)
class DecoderState(State):
    """What a layer of a decoder goes on from: its own state, and what it keeps of the source."""

    own: State | None = None
    "Of the layer's mixer; None at the start."
    source: State | None = None
    "What the layer's cross-attention has read of the source, once."

    @property
    def can_trim(self) -> bool:
        return self.own is not None and self.own.can_trim

    def trim(self, count_b: Tensor) -> Self:
        """Forget the last tokens of each row; nothing of the source."""
        own = None if self.own is None else self.own.trim(count_b)
        return replace(self, seen_b=self.seen_b - count_b.clamp(max=self.seen_b), own=own)


class DecoderLayer(nn.Module):
    """A layer whose tokens read the source between the mixer and the feed-forward, wired as both are.

    `x, state = layer(x, state, mask_bl=…, positions_bl=…)` as a `Block`, on a `DecoderState` that holds a source.
    """

    def __init__(self, block: Block, cross: CrossMixer, wiring: Sublayer):
        super().__init__()
        self.block, self.cross, self.cross_wiring = block, cross, wiring

    def init_weights(self, std: float) -> None:
        """Let the wiring set what starts otherwise because of cross-attention, once everything else has started."""
        self.block.init_with(self.cross, std)

    def static_state(self, state: State, length: int) -> State:
        """Raise Unsupported: what is kept of the source has no place of its own in a static cache."""
        raise Unsupported(
            "an encoder–decoder has no static cache: each source has its own length; use a cache that grows"
        )

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
        keep_state: bool = True,
    ) -> tuple[Tensor, State]:
        if not isinstance(state, DecoderState) or state.source is None:
            raise TypeError(
                f"a decoder's layer needs a DecoderState with a source, but a {type(state).__name__} was given; start "
                "with what CrossDecoder.read returns"
            )
        block, before = self.block, state.own
        given: dict[str, Any] = {"mask_bl": mask_bl, "positions_bl": positions_bl, "keep_state": keep_state}
        mixed, own = block.mixer(block.mixer_input(x_bld), before, **given)
        read = self.cross_wiring(block.join(x_bld, mixed), partial(self.cross, source=state.source))
        return block.feed(read, mask_bl), replace(state, seen_b=seen_after(x_bld, mask_bl, state), own=own)


class CrossDecoder(Transformer):
    """A causal `Transformer` whose layers read a source, with softmax or another mixer that has the ability `cross`."""

    config_class = Seq2SeqConfig
    config: Seq2SeqConfig

    def __init__(self, config: Seq2SeqConfig):
        if not config.computation.runs_layers_once:
            raise Unsupported(f"{config.computation} lets layers run again, but a decoder's each read the source once")
        super().__init__(config)

    def build_layer(self, site: Site) -> nn.Module:
        config, block = self.config, super().build_layer(site)
        assert isinstance(block, Block)
        return DecoderLayer(block, config.cross.build_cross(site), config.residual.build_sublayer(site, config.norm))

    def read(self, source_bsd: Tensor, mask_bs: Tensor | None = None) -> list[DecoderState]:
        """Return the states that layers start from: what each keeps of a source (B, S, D), as `start` of `forward`."""
        none_b = torch.zeros(source_bsd.shape[0], dtype=torch.long, device=source_bsd.device)
        layers = [layer for layer in self.layers if isinstance(layer, DecoderLayer)]
        return [DecoderState(none_b, source=layer.cross.read(source_bsd, mask_bs)) for layer in layers]
