"""Reversible wiring: activations are not kept for the backward pass but made again from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.ffn import mixes_tokens
from formers.mixers.documents import Mask
from formers.mixers.mixer import MixerModule
from formers.norms import Norm
from formers.ops import gradients_by_autograd, is_transformed, needs_autograd
from formers.part import Site, Unsupported
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
    `torch.compile` and `torch.func`, and where states or hidden states are asked for, layers run one by one and keep
    what they need; so they do in a backward pass that makes a graph of the gradients (`create_graph=True`).
    Source: Gomez et al. 2017 (RevNet), arXiv:1707.04585; Kitaev et al. 2020 (Reformer), arXiv:2001.04451.
    """

    normalizes_end = True
    calls_layers = False  # it runs their halves

    def build(self, site: Site, mixer: MixerModule, ffn: nn.Module, norm: Norm) -> Block:
        if mixes_tokens(ffn):
            raise Unsupported(
                f"{self} makes the feed-forward again some tokens at a time, but this one takes in their neighbours; "
                "use mlp() or glu(), or another residual, such as pre_norm()"
            )
        return ReversibleBlock(site, mixer, ffn, norm)

    def enter(self, x_bld: Tensor) -> Tensor:
        return torch.cat([x_bld, x_bld], -1)

    def leave(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return (first + second) / 2

    def through(self, layers: nn.ModuleList, x: Tensor, mask_bl: Mask, positions_bl: Tensor | None) -> Tensor:
        if torch.compiler.is_compiling() or is_transformed() or not torch.is_grad_enabled():
            return super().through(layers, x, mask_bl, positions_bl)
        run = _Pass(layers, mask_bl, positions_bl)
        return _ReversibleFunction.apply(x, _Place.apply(x), run, *layers.parameters())


class ReversibleBlock(Block):
    """Takes and gives both streams side by side, (B, L, 2D)."""

    def mixer_input(self, x_bld: Tensor) -> Tensor:
        return self.mixer_norm(x_bld.chunk(2, -1)[1])

    def merge(self, x_bld: Tensor, mixed_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        first, second = x_bld.chunk(2, -1)
        first = first + self.dropout(mixed_bld)
        return torch.cat([first, second + self.transform(first)], -1)

    def mix(self, second: Tensor, mask_bl: Mask, positions_bl: Tensor | None) -> Tensor:
        """Return what is added to the first stream."""
        mixed, _ = self.mixer(self.mixer_norm(second), mask_bl=mask_bl, positions_bl=positions_bl, keep_state=False)
        return self.dropout(mixed)

    def transform(self, first: Tensor) -> Tensor:
        """Return what is added to the second stream."""
        return self.dropout(self.ffn(self.ffn_norm(first)))


class _Pass:
    """One pass through reversible layers: all it keeps beside tensors.

    Attributes:
        layers, blocks: the layers, as a module and one by one.
        names: of their parameters, which are passed in: when it is time for the backward pass, the layers may hold
            others, if `torch.func.functional_call` put in those of this pass.
        mask_bl, positions_bl: as the layers take them.
        replays: of the mixer and the feed-forward of each layer.
    """

    def __init__(self, layers: nn.ModuleList, mask_bl: Mask, positions_bl: Tensor | None):
        self.layers, self.mask_bl, self.positions_bl = layers, mask_bl, positions_bl
        self.blocks: list[Any] = list(layers)
        self.names = [name for name, _ in layers.named_parameters()]
        self.replays: list[tuple[Replay, Replay]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Return the streams after the last layer."""
        first, second = (t.contiguous() for t in x.chunk(2, -1))
        for layer in self.blocks:
            before_mixer = Replay(x.device)
            first = first + layer.mix(second, self.mask_bl, self.positions_bl)
            self.replays.append((before_mixer, Replay(x.device)))
            second = second + _transform(layer, first)
        return torch.cat([first, second], -1)

    def again(self, x: Tensor) -> Tensor:
        """Return the streams after the last layer as `forward` did, with the same random choices."""
        first, second = x.chunk(2, -1)
        for layer, (before_mixer, before_ffn) in zip(self.blocks, self.replays, strict=True):
            with before_mixer.again():
                first = first + layer.mix(second, self.mask_bl, self.positions_bl)
            with before_ffn.again():
                second = second + _transform(layer, first)
        return torch.cat([first, second], -1)

    def undo(self, y: Tensor) -> Tensor:
        """Return the streams before the first layer, given those after the last."""
        first, second = y.chunk(2, -1)
        for layer, (before_mixer, before_ffn) in self._downwards():
            with before_ffn.again():
                second = second - _transform(layer, first)
            with before_mixer.again():
                first = first - layer.mix(second, self.mask_bl, self.positions_bl)
        return torch.cat([first, second], -1)

    def backward(self, y: Tensor, gradient: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return the gradients of the streams before the first layer and of the parameters, which the layers hold."""
        below = _Below(y, gradient, [p for p in parameters if p.requires_grad])
        for layer, (before_mixer, before_ffn) in self._downwards():
            below.undo_ffn(layer, before_ffn)
            below.undo_mixer(layer, before_mixer, self.mask_bl, self.positions_bl)
        found = iter(below.found)
        of_parameters = [next(found) if p.requires_grad else None for p in parameters]
        return torch.cat([below.g_first, below.g_second], -1), *of_parameters

    def call(self, function: Callable[..., Any], parameters: Sequence[Tensor], *inputs: Any) -> Any:
        """Return function(*inputs), run with these parameters in the layers."""
        given = {f"layers.{name}": p for name, p in zip(self.names, parameters, strict=True)}
        return functional_call(_WithLayers(self.layers, function), given, inputs)

    def _downwards(self) -> Iterator[tuple[Any, tuple[Replay, Replay]]]:
        """Yield each layer with its replays, the last one first."""
        return zip(reversed(self.blocks), reversed(self.replays), strict=True)


def _transform(layer: Any, first: Tensor) -> Tensor:
    """Return what the layer adds to the second stream, made some tokens at a time."""
    return torch.cat([layer.transform(part) for part in first.split(FFN_TOKENS, 1)], 1)


class _WithLayers(nn.Module):
    """Calls a function that uses the layers, so that `functional_call` can put parameters into them."""

    def __init__(self, layers: nn.ModuleList, function: Callable[..., Any]):
        super().__init__()
        self.layers, self.function = layers, function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class _Place(torch.autograd.Function):
    """x → zeros that take no memory, whose gradient is that of x: keeps its place in the graph, not its numbers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return x.new_zeros(()).expand(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Tensor | None:
        return gradient


class _ReversibleFunction(torch.autograd.Function):
    """(streams, their place, a pass, its parameters) → streams. Keeps its result and random states only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Tensor, run: _Pass, *parameters: Tensor) -> Tensor:
        ctx.run, y = run, run.forward(x)
        ctx.save_for_backward(y, place, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        run, (y, place, *parameters) = ctx.run, ctx.saved_tensors
        if needs_autograd(gradient):
            with torch.no_grad():
                x = run.call(run.undo, parameters, y)
            inputs = (x + place, *parameters)
            g_x, *found = gradients_by_autograd(lambda x, *own: (run.call(run.again, own, x),), inputs, (gradient,))
        else:
            own = [p.detach().requires_grad_(p.requires_grad) for p in parameters]
            g_x, *found = run.call(run.backward, own, y, gradient, own)
        return g_x, None, None, *found


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

    def undo_mixer(self, layer: ReversibleBlock, replay: Replay, mask_bl: Mask, positions_bl: Tensor | None) -> None:
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
