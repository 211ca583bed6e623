"""Reversible wiring: activations are not kept for the backward pass but made again from the results."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.part import Site, State
from formers.residuals.replay import Replay
from formers.residuals.residual import Block, Residual

FFN_TOKENS = 512
"""The feed-forward works on so many tokens of a row at once in training, so that its hidden layer is never there whole.
"""


class Reversible(Residual):
    """Two streams, y₁ = x₁ + mixer(norm(x₂)), y₂ = x₂ + ffn(norm(y₁)), from which the inputs can be computed again.

    x₂ = y₂ − ffn(norm(y₁)), x₁ = y₁ − mixer(norm(x₂)). In training a model keeps only the last layer's streams,
    whatever its depth, and makes those below again in the backward pass, with the same random choices, at the price of
    a second forward pass. Both streams start as the embedded input; the result is their mean. Takes any mixer. Under
    `torch.compile`, and where states or hidden states are asked for, layers run one by one and keep what they need.
    Source: Gomez et al. 2017 (RevNet), arXiv:1707.04585; Kitaev et al. 2020 (Reformer), arXiv:2001.04451.
    """

    normalizes_end = True
    calls_layers = False  # it runs their halves

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        return ReversibleBlock(site, mixer, ffn, norm)

    def enter(self, x_bld: Tensor) -> Tensor:
        return torch.cat([x_bld, x_bld], -1)

    def leave(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return (first + second) / 2

    def through(self, layers: nn.ModuleList, x: Tensor, mask_bl: Tensor | None, positions_bl: Tensor | None) -> Tensor:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return super().through(layers, x, mask_bl, positions_bl)
        parameters = [p for p in layers.parameters() if p.requires_grad]
        return _ReversibleFunction.apply(x, list(layers), mask_bl, positions_bl, *parameters)


class ReversibleBlock(Block):
    """Takes and gives both streams side by side, (B, L, 2D)."""

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        first, second = x_bld.chunk(2, -1)
        mixed, state = self.mixer(self.mixer_norm(second), state, mask_bl=mask_bl, positions_bl=positions_bl)
        first = first + self.dropout(mixed)
        return torch.cat([first, second + self.transform(first)], -1), state

    def mix(self, second: Tensor, mask_bl: Tensor | None, positions_bl: Tensor | None) -> Tensor:
        """Return what is added to the first stream."""
        mixed, _ = self.mixer(self.mixer_norm(second), mask_bl=mask_bl, positions_bl=positions_bl)
        return self.dropout(mixed)

    def transform(self, first: Tensor) -> Tensor:
        """Return what is added to the second stream."""
        return self.dropout(self.ffn(self.ffn_norm(first)))


class _ReversibleFunction(torch.autograd.Function):
    """(streams, layers, mask, positions, the layers' parameters) → streams. Keeps its result and random states only."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        layers: list[ReversibleBlock],
        mask_bl: Tensor | None,
        positions_bl: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        first, second = (t.contiguous() for t in x.chunk(2, -1))
        replays = []
        for layer in layers:
            before_mixer = Replay(x.device)
            first = first + layer.mix(second, mask_bl, positions_bl)
            replays.append((before_mixer, Replay(x.device)))
            second = second + torch.cat([layer.transform(part) for part in first.split(FFN_TOKENS, 1)], 1)
        ctx.layers, ctx.replays, ctx.given = layers, replays, (mask_bl, positions_bl)
        y = torch.cat([first, second], -1)
        ctx.save_for_backward(y, *parameters)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, *parameters = ctx.saved_tensors
        below = _Below(y, gradient, parameters)
        for layer, (before_mixer, before_ffn) in zip(reversed(ctx.layers), reversed(ctx.replays), strict=True):
            below.undo_ffn(layer, before_ffn)
            below.undo_mixer(layer, before_mixer, *ctx.given)
        return torch.cat([below.g_first, below.g_second], -1), None, None, None, *below.found


class _Below:
    """Both streams, their gradients, and the gradients of parameters, on the way down."""

    def __init__(self, y: Tensor, gradient: Tensor, parameters: list[Tensor]):
        self.first, self.second = y.chunk(2, -1)
        self.g_first, self.g_second = gradient.chunk(2, -1)
        self.parameters = parameters
        self.found: list[Tensor | None] = [None] * len(parameters)

    def undo_ffn(self, layer: ReversibleBlock, replay: Replay) -> None:
        """Restore x₂ = y₂ − ffn(norm(y₁)), some tokens at a time."""
        seconds, g_firsts = [], []
        parts = (t.split(FFN_TOKENS, 1) for t in (self.first, self.second, self.g_second))
        with replay.again():
            for first, second, g_second in zip(*parts, strict=True):
                added, g_first = self.undo(layer.transform, first, g_second)
                seconds.append(second - added)
                g_firsts.append(g_first)
        self.second, self.g_first = torch.cat(seconds, 1), self.g_first + torch.cat(g_firsts, 1)

    def undo_mixer(
        self, layer: ReversibleBlock, replay: Replay, mask_bl: Tensor | None, positions_bl: Tensor | None
    ) -> None:
        """Restore x₁ = y₁ − mixer(norm(x₂))."""
        with replay.again():
            added, g_second = self.undo(lambda x: layer.mix(x, mask_bl, positions_bl), self.second, self.g_first)
        self.first, self.g_second = self.first - added, self.g_second + g_second

    def undo(self, function: Any, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return function(x) and the gradient of x; add up those of the parameters."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = function(x)
        g_x, *found = torch.autograd.grad(y, [x, *self.parameters], gradient.to(y.dtype), allow_unused=True)
        for i, g in enumerate(found):
            before = self.found[i]
            if g is not None:
                self.found[i] = g if before is None else before + g
        return y.detach(), torch.zeros_like(x) if g_x is None else g_x
