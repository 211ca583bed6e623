"""The residual axis: how the sub-layers of a layer are wired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from formers.ffn import mixes_tokens
from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Part, Site, State, Unsupported


class Residual(Part):
    """How the mixer and the feed-forward of a layer are wired together."""

    normalizes_end: ClassVar[bool]
    "Whether the stream leaves the last layer unnormalised, so that the model puts one more norm behind it."
    calls_layers: ClassVar[bool] = True
    "Whether `through` calls the layers as modules, so that hooks see each of them begin and end."

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        """Return a layer of this mixer and feed-forward, with norms of its own."""
        raise self.lacks("build(site, mixer, ffn, norm)")

    def build_sublayer(self, site: Site, norm: Norm) -> Sublayer:
        """Return the wiring around a third sub-layer between the two, as a decoder's cross-attention.

        Raise `Unsupported` where there is no room for one.
        """
        raise Unsupported(
            f"{self} wires a mixer and a feed-forward, and has no place for cross-attention between them; use "
            "pre_norm(), post_norm() or gated()"
        )

    def enter(self, x_bld: Tensor) -> Tensor:
        """Return what the first layer takes, made from the embedded input."""
        return x_bld

    def leave(self, x: Tensor) -> Tensor:
        """Return the hidden states (B, L, D), made from a layer's output."""
        return x

    def through(self, layers: nn.ModuleList, x: Tensor, mask_bl: Mask, positions_bl: Tensor | None) -> Tensor:
        """Run all layers one after the other and return the last output alone."""
        for layer in layers:
            x, _ = layer(x, mask_bl=mask_bl, positions_bl=positions_bl, keep_state=False)
        return x


class Sublayer(nn.Module):
    """The wiring around one sub-layer: `x = sublayer(x, run)`, where `run` is the sub-layer, (B, L, D) → (B, L, D)."""

    def __init__(self, site: Site, norm: Norm):
        super().__init__()
        self.norm, self.dropout = norm.build(site), nn.Dropout(site.dropout)

    def forward(self, x_bld: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        raise NotImplementedError


class Block(nn.Module):
    """One layer: `x, state = block(x, state, mask_bl=…, positions_bl=…, keep_state=…, rows=…)`, as in `MixerModule`.

    x is the result of the wiring's `enter`: the hidden states themselves, unless the wiring changes them. A wiring
    defines what surrounds the mixer and the feed-forward: `join` and `feed`, or `merge` where nothing stands between
    the two, and `mixer_input` where that is not the normalised stream.
    """

    def __init__(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm):
        super().__init__()
        self.mixer, self.ffn = mixer, ffn
        self.mixer_norm, self.ffn_norm = norm.build(site), norm.build(site)
        self.dropout = nn.Dropout(site.dropout)

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
        keep_state: bool = True,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        if rows is not None:
            return self._of_rows(x_bld, state, rows, mask_bl, positions_bl)
        given: dict[str, Any] = {"mask_bl": mask_bl, "positions_bl": positions_bl}
        if mixes_tokens(self.ffn):
            if state is not None:
                raise _keeps_no_state()
            mixed, _ = self.mixer(self.mixer_input(x_bld), None, **given, keep_state=False)
            return self.merge(x_bld, mixed, mask_bl), None
        mixed, state = self.mixer(self.mixer_input(x_bld), state, **given, keep_state=keep_state)
        return self.merge(x_bld, mixed, mask_bl), state

    def static_state(self, state: State, length: int) -> State:
        """Return the state as `MixerModule.static_state` says."""
        sized: State = self.mixer.static_state(state, length)
        return sized

    def mixer_input(self, x_bld: Tensor) -> Tensor:
        """Return the hidden states that the mixer mixes."""
        mixed: Tensor = self.mixer_norm(x_bld)
        return mixed

    def merge(self, x_bld: Tensor, mixed_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        """Return the layer's output, given its input and what the mixer made of it: the feed-forward is here."""
        return self.feed(self.join(x_bld, mixed_bld), mask_bl)

    def join(self, x_bld: Tensor, mixed_bld: Tensor) -> Tensor:
        """Return the stream between the two sub-layers, given the layer's input and what the mixer made of it."""
        raise NotImplementedError

    def feed(self, x_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        """Return the layer's output, given the stream between the two sub-layers."""
        raise NotImplementedError

    def feed_forward(self, x_bld: Tensor, mask_bl: Mask) -> Tensor:
        """Return the feed-forward's output; one that takes in neighbouring tokens needs to know which are real."""
        fed: Tensor = self.ffn(x_bld, mask_bl=mask_bl) if mixes_tokens(self.ffn) else self.ffn(x_bld)
        return fed

    def init_with(self, third: nn.Module, std: float) -> None:
        """Set weights that start otherwise where a third sub-layer runs between the two, after all three have started.

        Nothing, unless the wiring has a start of its own.
        """

    def some_rows(
        self,
        x_bld: Tensor,
        state: State | None,
        rows: Tensor,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return the layer's output for some rows of the batch, (R, L, D), and the state after the tokens of all.

        The other rows cost what `MixerModule.some_rows` says: with attention, their keys and values.

        Args:
            rows: their indices, (R,), which may be none.
        """
        some: tuple[Tensor, State] = self(x_bld, state, rows=rows, mask_bl=mask_bl, positions_bl=positions_bl)
        return some

    def _of_rows(
        self, x_bld: Tensor, state: State | None, rows: Tensor, mask_bl: Any, positions_bl: Tensor | None
    ) -> tuple[Tensor, State]:
        if mixes_tokens(self.ffn):
            raise _keeps_no_state()
        mixed, state = self.mixer.some_rows(
            self.mixer_input(x_bld), state, rows, mask_bl=mask_bl, positions_bl=positions_bl
        )
        return self.merge(x_bld.index_select(0, rows), mixed) if len(rows) else x_bld[:0], state


def _keeps_no_state() -> Unsupported:
    """Return the error for a state beside a feed-forward that would need one of its own."""
    return Unsupported(
        "a state was given or asked for, but the feed-forward takes in neighbouring tokens and keeps none; run whole "
        "sequences, or use mlp() or glu()"
    )
