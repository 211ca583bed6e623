"""Hosts: the smallest company a part needs to be run, behind the one interface that all laws use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from formers.computation import Computation, EarlyExit, StackInput, StackOutput, StackState
from formers.computation.exit_rules import ExitRuleModule
from formers.ffn import Ffn, Mlp
from formers.memory import Memory
from formers.mixers import FeatureMap, Linear, Mixer, Softmax
from formers.mixers.context import count_tokens
from formers.mixers.documents import Documents, Mask
from formers.models.decision_config import DecisionConfig
from formers.models.decision_transformer import DecisionTransformer
from formers.models.exit_heads import ExitHeads
from formers.models.losses import next_token_loss
from formers.norms import LayerNorm, Norm
from formers.part import Part, Site, State, add_loss
from formers.positions import Position
from formers.residuals import PreNorm, Residual


class Positioned(nn.Module):
    """A mixer behind a position that acts on the input."""

    def __init__(self, position: nn.Module, width: int, mixer: nn.Module):
        super().__init__()
        self.position, self.width, self.mixer = position, width, mixer

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """Return the mixer's output for the first `width` features of the input, with their position, and its state."""
        if positions_bl is None:
            positions_bl = count_tokens(x_bld, mask_bl, state) - 1
        x_bld = self.position(x_bld[..., : self.width], positions_bl)
        return self.mixer(x_bld, state, mask_bl=mask_bl, positions_bl=positions_bl)


class Wired(nn.Module):
    """A layer between what its wiring does before the first and after the last one."""

    def __init__(self, wiring: Residual, layer: nn.Module):
        super().__init__()
        self.wiring, self.layer = wiring, layer

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """Return the output of a stack of one layer, and its state; in training the wiring runs the layer, as in a
        model."""
        x = self.wiring.enter(x_bld)
        if self.training and state is None:
            x = self.wiring.through(nn.ModuleList([self.layer]), x, mask_bl, positions_bl)
        else:
            x, state = self.layer(x, state, mask_bl=mask_bl, positions_bl=positions_bl)
        return self.wiring.leave(x), state


class Stacked(nn.Module):
    """Layers of attention that a computation runs, in a model of depth 3, where tokens may stop at different steps."""

    depth = 3

    def __init__(self, part: Computation, site: Site):
        super().__init__()
        site, wiring = replace(site, layers=part.layers(self.depth)), PreNorm()
        sites = [site.at(layer) for layer in range(site.layers)]
        self.layers = nn.ModuleList(wiring.build(s, Softmax().build(s), Mlp().build(s), LayerNorm()) for s in sites)
        self.computation, self.causal = part.build(site, self.depth, wiring), site.causal

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Mask = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """Return the output of the stack, and the states of all steps as one."""
        if not x_bld.shape[1]:
            return x_bld, state
        if state is not None and not isinstance(state, StackState):
            raise TypeError(f"a stack goes on from a StackState, but a {type(state).__name__} was given")
        given = self.given(x_bld, state, mask_bl, positions_bl)
        out = self.computation(given)
        seen_b = out.states[0].seen_b if given.keep_states else None
        return self.finish(out, given), None if seen_b is None else StackState(seen_b, tuple(out.states))

    def given(self, x_bld: Tensor, state: StackState | None, mask_bl: Mask, positions_bl: Tensor | None) -> StackInput:
        """Return what the layers are run on."""
        counts_bl = count_tokens(x_bld, mask_bl, state)
        return StackInput(
            self.layers,
            x_bld,
            counts_bl - 1 if positions_bl is None else positions_bl,
            mask_bl,
            [None] * self.computation.states if state is None else state.outside_inference_mode().steps,
            keep_states=self.causal and not isinstance(mask_bl, Documents),
        )

    def finish(self, out: StackOutput, given: StackInput) -> Tensor:
        """Return the output of the layers."""
        return out.x_bld


class Exiting(Stacked):
    """Layers with exits as a `CausalLM` has them: hidden states are the scores of a vocabulary of as many tokens.

    In training it adds the loss of the exits, with made-up labels.
    """

    def __init__(self, part: EarlyExit, site: Site):
        super().__init__(part, site)
        self.exits = ExitHeads(part, self.depth, width=site.width, vocab_size=site.width)

    def given(self, x_bld: Tensor, state: StackState | None, mask_bl: Mask, positions_bl: Tensor | None) -> StackInput:
        given = super().given(x_bld, state, mask_bl, positions_bl)
        return replace(given, keep_hidden=self.training, scores=lambda n, x: self.exits.at(n, x, _sharpened))

    def finish(self, out: StackOutput, given: StackInput) -> Tensor:
        if not self.training:
            return out.x_bld
        labels = torch.arange(out.x_bld.shape[1], device=out.x_bld.device).expand(out.x_bld.shape[:2])
        labels = labels * 7 % out.x_bld.shape[2]
        if self.exits.part.training == "mixed":
            add_loss("exits", next_token_loss(self.exits.scores(out.x_bld, out.steps_bl, _itself), labels))
            return out.x_bld
        hidden, rule = [*out.hidden[1:], out.x_bld], self.computation.rule
        assert isinstance(rule, ExitRuleModule)
        mask = given.mask_bl if isinstance(given.mask_bl, Documents) else given.real_bl
        loss, learnt = self.exits.aligned_loss(
            hidden, labels, None, norm=_itself, lm_head=_itself, rule=rule, first=rule.reads(hidden[0], mask)
        )
        for one in (loss, learnt):
            if one is not None:
                add_loss("exits", one)
        return out.x_bld


def _itself(x: Tensor) -> Tensor:
    return x


def _sharpened(x: Tensor) -> Tensor:
    """Return scores with which some tokens are predicted with confidence."""
    return 16 * x


def _host_mixer(part: Any, site: Site) -> nn.Module:
    return part.build(site)


def _host_feature(part: Any, site: Site) -> nn.Module:
    return Linear(feature=part).build(site)


def _host_position(part: Any, site: Site) -> nn.Module:
    site = replace(site, position=part)
    mixer = Softmax().build(site)
    return Positioned(part.build(site), part.embedding_width(site), mixer) if part.acts_on == "input" else mixer


def _host_norm(part: Any, site: Site) -> nn.Module:
    return PreNorm().build(site, Softmax().build(site), Mlp().build(site), part)


def _host_ffn(part: Any, site: Site) -> nn.Module:
    return PreNorm().build(site, Softmax().build(site), part.build(site), LayerNorm())


def _host_residual(part: Any, site: Site) -> nn.Module:
    layer = part.build(site, Softmax().build(site), Mlp().build(site), LayerNorm())
    return layer if type(part).enter is Residual.enter else Wired(part, layer)


def _host_memory(part: Any, site: Site) -> nn.Module:
    return part.build(site, Softmax().build(site))


def _host_computation(part: Any, site: Site) -> nn.Module:
    return Exiting(part, site) if isinstance(part, EarlyExit) else Stacked(part, site)


def deciding(part: Any, site: Site) -> DecisionTransformer:
    """Return a Decision Transformer of a mixer, as deep as the site: states as wide as the site, one of three actions.

    It is no host of the axis, as it takes steps and not tokens: `laws.decisions` tries every causal mixer in it.
    """
    config = DecisionConfig(
        width=site.width,
        heads=site.heads,
        depth=site.layers,
        mixer=part,
        context_length=site.context_length,
        initializer_range=0.3,
        state_size=site.width,
        action_size=3,
        longest_episode=64,
    )
    return DecisionTransformer(config)


HOSTS: dict[type[Part], Callable[[Any, Site], nn.Module]] = {
    Mixer: _host_mixer,
    FeatureMap: _host_feature,
    Position: _host_position,
    Norm: _host_norm,
    Ffn: _host_ffn,
    Residual: _host_residual,
    Memory: _host_memory,
    Computation: _host_computation,
}
"""Axis → how a part of it is built into something with the interface of a mixer: `y, state = module(x, state, …)`."""


def axis_of(part: Part) -> type[Part]:
    """Return the axis whose host takes the part. Raise TypeError where there is none."""
    for axis in HOSTS:
        if isinstance(part, axis):
            return axis
    known = ", ".join(axis.name() for axis in HOSTS)
    raise TypeError(f"no law knows how to build {part}: it is on none of the axes {known}; add its axis to HOSTS")


def mixer_of(part: Part) -> Mixer:
    """Return the mixer that the part's host runs: the part itself, linear attention for a feature map, else softmax."""
    if isinstance(part, Mixer):
        return part
    return Linear(feature=part) if isinstance(part, FeatureMap) else Softmax()
