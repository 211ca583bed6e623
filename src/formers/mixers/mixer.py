"""The mixer axis: how tokens exchange information."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from formers.mixers.context import Context, count_tokens
from formers.mixers.cross import CrossMixer
from formers.mixers.documents import DocumentBatch, Documents, GlobalMask, Grouping, Mask, check_global_tokens
from formers.mixers.memory import MemoryInput, MixerMemory
from formers.mixers.shorthand import begins_with
from formers.part import Part, SharingModule, Site, State, Unsupported, weighted_losses
from formers.positions.position import ABILITY_FOR, build_at


class Mixer(Part):
    """How tokens exchange information: hidden states in, hidden states out."""

    instead: ClassVar[dict[str, str]] = {}
    "For an ability that is missing: why, and what to use instead."
    shorthands: ClassVar[dict[type[Part], Callable[[Any], Any]]] = {}
    "Other axes whose parts stand for a mixer, and the function that makes it; the mixer's own file registers them."

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the mixer that a text means; a part of an axis in `shorthands` means the mixer registered for it."""
        for axis, mixer_over in cls.shorthands.items() if cls is Mixer else ():
            if begins_with(text, axis, Mixer):
                return mixer_over(axis.parse(text))
        return super().parse(text)

    def build(self, site: Site) -> MixerModule:
        """Return the module for this site. Raise `Unsupported` where the part cannot do what the site asks."""
        self.check_site(site)
        module = self.module(site)
        if not isinstance(module, MixerModule):
            raise TypeError(f"{self} builds a {type(module).__name__}, which extends neither QkvMixer nor MixerModule")
        module.built_by = self
        module.has_state = "streaming" in self.abilities
        if module.causal and module.has_state and not module.states:
            raise TypeError(f"{self} streams, but {type(module).__name__} declares no type of state; set its `states`")
        return module

    def no_state(self) -> str:
        """Return the error message for a state that is given to, or asked of, a mixer that does not stream."""
        why = self.instead.get("streaming", "")
        return f"{self} has no streaming state{f': {why}' if why else ''}"

    def module(self, site: Site) -> MixerModule:
        """Return the module; the site has been checked. Every mixer overrides this."""
        raise self.lacks("module(site)")

    def build_cross(self, site: Site) -> CrossMixer:
        """Return the module that reads another sequence at this site, without a position of its own.

        Raise `Unsupported` unless the mixer has the ability `cross`.
        """
        self.require("cross", why=self.instead.get("cross", ""), instead="softmax() or linear()")
        return self.cross_module(replace(site, causal=False, position=None))

    def cross_module(self, site: Site) -> CrossMixer:
        """Return the module of cross-attention; every mixer with the ability `cross` overrides this."""
        raise NotImplementedError

    def growth(self) -> float:
        """Return the power of the length that operations grow with in a forward pass: 1 = linear, 2 = every pair."""
        raise NotImplementedError(f"{self.name()} does not say how its cost grows with the length; define growth()")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` unless the mixer can be causal (or bidirectional) here and take the site's position."""
        direction = "causal" if site.causal else "bidirectional"
        self.require(direction, why=self.instead.get(direction, ""))
        needed, what = ABILITY_FOR.get(site.position.acts_on if site.position else "", ("", ""))
        if needed and needed not in self.abilities:
            own = f", or add {needed!r} to {type(self).__name__}.can if it applies them" if self.is_own() else ""
            raise Unsupported(
                f"{self} cannot take position {site.position}: it acts on {what}, and {self.name()} forms none. "
                f"Use a position that acts elsewhere: {self.takes_positions()}{own}"
            )

    def takes_positions(self) -> str:
        """Return examples of positions that the mixer takes, as text."""
        found = ["alibi()", "xl()"] if "score_position" in self.abilities else []
        found += ["rotary()"] if "qk_position" in self.abilities else []
        return ", ".join([*found, "sinusoidal()", "learned()", "cosine()"]) + " or none()"


class MixerModule(SharingModule):
    """A built mixer: `y, state = mixer(x, state)`. A subclass defines `mix`, and `states` where it streams.

    Args of `forward`:
        x_bld: hidden states of the new tokens, (B, L, D).
        state: what came before, or None at the start. Only streaming mixers take one, and only their own.
        mask_bl: True = a real token, False = padding, (B, L); None = all real. `Documents`, where rows hold several,
            each of which is mixed alone; `GlobalMask`, where rows have global tokens of their own.
        positions_bl: position of each token, (B, L) or (1, L). None counts the real ones, in each document anew.
        keep_state: whether the state after the tokens is wanted; without, none is made.
        rows: rows of the batch that y is wanted of; None = all. See `some_rows`.

    Returns:
        y (B, L, D), and the state after the last token (None where the mixer keeps none, as bidirectional ones, or none
        is wanted). Without tokens y is empty, and the state the one that was given.

    Raises:
        Unsupported, for a state where the mixer does not stream, for a state and documents, and for global tokens where
        it lacks that ability; TypeError, for a state of another type; ValueError, for a state in a bidirectional model.
    """

    states: ClassVar[tuple[type[State], ...]] = ()
    "Types of the states that the mixer returns and goes on from."
    moves_in_training: bool = False
    """Whether a training pass moves or draws numbers that all its documents share, such as centroids and hashes. These
    are then mixed in one batch, whatever the padding, and not in several that would each move them."""
    built_by: Mixer | None = None
    "The part that built the module."
    has_state: bool = True
    "Whether that part streams."

    def __init__(self, site: Site):
        super().__init__()
        self.memory: MixerMemory | None = None
        self.causal = site.causal
        self.layer_position = build_at("layer", site)

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
        global_bl = None
        if isinstance(mask_bl, GlobalMask):
            check_global_tokens(self.built_by, self.causal)
            mask_bl, global_bl = mask_bl
        if isinstance(mask_bl, Documents):
            return self._mix_documents(x_bld, state, mask_bl, positions_bl, global_bl), None
        if state is not None:
            self.check_state(state)
        if torch.compiler.is_exporting():
            self.check_export(x_bld)
        if not x_bld.shape[1]:
            return x_bld, state
        state = None if state is None else state.outside_inference_mode()
        context = self.context(x_bld, state, mask_bl, positions_bl).with_global(global_bl)
        if keep_state:
            return self._step(context)
        return self._step(replace(context, keep_state=False))[0], None

    def _step(self, context: Context) -> tuple[Tensor, State | None]:
        """Return y and the state, by the mixer itself or by the memory that it was given."""
        return self.mix(context) if self.memory is None else self.memory(MemoryInput(self, context))

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        """Return y (B, L, D) and the state after the last token. Every mixer overrides this, or steps of it."""
        raise NotImplementedError

    def some_rows(
        self,
        x_bld: Tensor,
        state: State | None,
        rows: Tensor,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Return y of some rows of the batch, (R, L, D), and the state after the tokens of all rows.

        The other rows cost what their part of the state does where a mixer overrides `mix_rows`; with others, as much
        as those that are asked for. Raise Unsupported where the mixer keeps no state.

        Args:
            rows: their indices, (R,), which may be none.
        """
        some: tuple[Tensor, State] = self(x_bld, state, rows=rows, mask_bl=mask_bl, positions_bl=positions_bl)
        return some

    def _of_rows(
        self, x_bld: Tensor, state: State | None, rows: Tensor, mask_bl: Mask, positions_bl: Tensor | None
    ) -> tuple[Tensor, State]:
        assert not isinstance(mask_bl, Documents | GlobalMask), "these have no states"
        if not self.causal:
            raise Unsupported("a bidirectional mixer keeps no state: tokens still to come would change its outputs")
        if self.built_by is not None and not self.has_state:
            raise Unsupported(self.built_by.no_state())
        if state is not None:
            self.check_state(state)
            state = state.outside_inference_mode()
        context = self.context(x_bld, state, mask_bl, positions_bl)
        return self.mix_rows(context, rows) if self.memory is None else self._step_rows(context, rows)

    def mix_rows(self, context: Context, rows: Tensor) -> tuple[Tensor, State]:
        """Return y of some rows and the state of all, as `some_rows`. Overridden where this takes less than `mix`."""
        return self._step_rows(context, rows)

    def _step_rows(self, context: Context, rows: Tensor) -> tuple[Tensor, State]:
        y_bld, state = self._step(context)
        assert state is not None, "a causal mixer that streams gives a state"
        return y_bld.index_select(0, rows), state

    def check_state(self, state: State) -> None:
        """Raise unless the module can go on from this state."""
        if not self.causal:
            raise ValueError("a bidirectional mixer takes no state: tokens still to come would change its outputs")
        if self.built_by is not None and not self.has_state:
            raise Unsupported(self.built_by.no_state())
        states = self.states if self.memory is None else self.memory.states
        if type(state) not in states:  # a state that holds more, too, may mean something else
            expected = " or ".join(kind.__name__ for kind in states)
            memory = "" if self.memory is None else f" with {self.memory.built_by or type(self.memory).__name__}"
            raise TypeError(
                f"{self.built_by or type(self).__name__}{memory} goes on from a {expected}, but a "
                f"{type(state).__name__} was given; pass the state that this mixer returned, or None at the start"
            )

    def static_state(self, state: State, length: int) -> State:
        """Return an equal state whose tensors keep their shapes while single tokens come, `length` in all; or raise."""
        self.check_state(state)
        for part in (self.built_by, None if self.memory is None else self.memory.built_by):
            if part is not None:
                part.require("static", instead="softmax(), linear() or dense(), without a memory")
        return self.with_fixed_size(state, length)

    def with_fixed_size(self, state: State, length: int) -> State:
        """Return `static_state`. A mixer overrides this where its state grows, or begins as one of another type."""
        return state

    def check_export(self, x_bld: Tensor) -> None:
        """Raise Unsupported where torch.export asks for any batch or length, and the mixer's work is laid out by
        them."""
        if not any(isinstance(size, torch.SymInt) for size in x_bld.shape):
            return
        why = "its work is laid out by the batch and the length. Leave dynamic_shapes out to export it for one size"
        if self.built_by is not None:
            self.built_by.require("export", why=why, instead="softmax(), linear() or dense()")
        if self.memory is not None and self.memory.built_by is not None:
            self.memory.built_by.require("export", why=why, instead="recurrent() or none()")

    def context(
        self, x_bld: Tensor, state: State | None, mask_bl: Tensor | None, positions_bl: Tensor | None
    ) -> Context:
        """Return the tokens with padding zeroed, their positions, and the position that acts on the layer applied."""
        if mask_bl is not None:
            x_bld = x_bld.masked_fill(~mask_bl.unsqueeze(-1), 0)  # whatever padding holds, NaN too, it is gone here
        if positions_bl is None:
            positions_bl = count_tokens(x_bld, mask_bl, state) - 1
        if self.layer_position is not None:
            x_bld = self.layer_position(x_bld, positions_bl)
        return Context(x_bld, positions_bl, mask_bl, state)

    def _mix_documents(
        self,
        x_bld: Tensor,
        state: State | None,
        documents: Documents,
        positions_bl: Tensor | None,
        global_bl: Tensor | None,
    ) -> Tensor:
        """Return y (B, L, D) of rows of documents, each mixed as if it were alone."""
        if state is not None:
            raise Unsupported("each of several packed documents begins anew, but a state was given; leave it out")
        if documents.lengths == ():
            return self._mix_padding(x_bld, documents.mask_bl)

        def mix(batch: DocumentBatch) -> Tensor:
            positions_nm = None if positions_bl is None else batch.take(positions_bl.expand(x_bld.shape[:2]))
            global_nm = None if global_bl is None else batch.take(global_bl)
            context = self.context(batch.take(x_bld), None, batch.mask_nm, positions_nm)
            with weighted_losses(batch.share):
                return self._step(replace(context.with_global(global_nm), keep_state=False))[0]

        return documents.map(mix, self._grouping())

    def _mix_padding(self, x_bld: Tensor, mask_bl: Tensor) -> Tensor:
        """Return zeros for rows of nothing but padding. The mixer runs all the same: all ranks sum gradients."""
        if self.built_by is not None and "padding" not in self.built_by.abilities:
            return torch.zeros_like(x_bld)  # it has nothing that learns
        y_bld = self._step(self.context(x_bld, None, mask_bl, None))[0]
        return y_bld.masked_fill(~mask_bl.unsqueeze(-1), 0)

    def _grouping(self) -> Grouping:
        """Return which documents are mixed in one batch: those of one length where padding cannot be left out."""
        if self.built_by is not None and "padding" not in self.built_by.abilities:
            return "equal"
        return "all" if self.training and self.moves_in_training else "near"

    def init_weights(self, std: float) -> None:
        """Set the parameters that want another start than N(0, std²) for linear weights and 0 for biases."""
