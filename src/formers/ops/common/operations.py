"""Floating-point operations, counted while code runs, on tensors with or without data.

torch's own counter knows products that return a new tensor. Those that add to a tensor in place, products with vectors,
fused attention on a CPU and Fourier transforms are added here, so that a count does not depend on how a kernel is
written; and no module is hooked, so that a count does not depend on which modules are called.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper

_Piece = TypeVar("_Piece")
_aten = torch.ops.aten
_TIMES: ContextVar[int] = ContextVar("times", default=1)
"""How often what runs now is counted."""


class OperationCount(TorchDispatchMode):
    """A context that counts the operations of what runs in it: 2·m·n·k for a product of (m, k) and (k, n).

    Convolutions and Fourier transforms are counted, too: 5·n·log2 n for n complex numbers, half of it for real ones.
    Forward and backward passes count, kernels with gradients written by hand as well. Element-wise work and sums do
    not. Fused attention counts all pairs even when causal, as is the custom.

    Attributes:
        total: the operations so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = _formula_for(operator)
        if formula is None and isinstance(operator, OpOverload):
            with self:  # in inference mode operators come whole, as `linear`, and are made of others
                made_of_others = operator.decompose(*args, **kwargs)
            if made_of_others is not NotImplemented:
                return made_of_others
        result = operator(*args, **kwargs)
        if formula is not None:
            self.total += _TIMES.get() * formula(*args, **kwargs, out_val=result)
        return result


def has_only_sizes(t: Tensor) -> bool:
    """Return whether nothing but sizes and operations can be asked for: no data, on the meta device, and no gradients.

    Of pieces of work that are alike, one says then what all do, and how much memory they take does not matter.
    """
    return t.is_meta and not torch.is_grad_enabled()


def counted_times(times: int) -> AbstractContextManager[None]:
    """Return a context that counts what runs inside as if it ran so many times."""
    return nullcontext() if times == 1 else _counted_times(times)


def each_kind(pieces: Iterable[_Piece], kind: Callable[[_Piece], Hashable], t: Tensor) -> list[tuple[_Piece, int]]:
    """Return pieces of the work on a tensor, and how many each stands for: itself alone, but where `has_only_sizes`.

    There one of a kind stands for all. Pieces of a kind do the same operations, on tensors of the same sizes.
    """
    pieces = list(pieces)
    if not has_only_sizes(t):
        return [(piece, 1) for piece in pieces]
    kinds = [kind(piece) for piece in pieces]
    counts = Counter(kinds)
    return [(piece, counts[kind]) for kind, piece in dict(zip(kinds, pieces, strict=True)).items()]


@contextmanager
def _counted_times(times: int) -> Iterator[None]:
    before = _TIMES.set(_TIMES.get() * times)
    try:
        yield
    finally:
        _TIMES.reset(before)


def _formula_for(operator: Any) -> Callable[..., int] | None:
    """Return the operations of an operator as a function of its arguments and `out_val`; None if it counts nothing."""
    packet = getattr(operator, "overloadpacket", operator)
    by_shapes = _FORMULAS.get(packet)
    return shape_wrapper(by_shapes) if by_shapes is not None else flop_registry.get(packet)


def _product(a_shape: Any, b_shape: Any) -> int:
    """Return 2·(batches)·m·n·k for (…, m, k) and (…, k, n); a vector is a matrix with one column."""
    columns = b_shape[-1] if len(b_shape) > 1 else 1
    return 2 * math.prod(a_shape) * columns


def _of_two(a_shape: Any, b_shape: Any, *args: Any, **options: Any) -> int:
    return _product(a_shape, b_shape)


def _added(start_shape: Any, a_shape: Any, b_shape: Any, *args: Any, **options: Any) -> int:
    return _product(a_shape, b_shape)


def _rank_one(start_shape: Any, a_shape: Any, b_shape: Any, *args: Any, **options: Any) -> int:
    return 2 * math.prod(a_shape) * math.prod(b_shape)


def _trilinear(a_shape: Any, b_shape: Any, c_shape: Any, *expanded: Any, **options: Any) -> int:
    """Return 2·(entries) of a ⊙ b ⊙ c, summed over some axes: what `bilinear` is made of. Each lacks some axes."""
    whole: dict[int, int] = {}
    for shape, lacking in zip((a_shape, b_shape, c_shape), expanded, strict=False):
        axes = [axis for axis in range(len(shape) + len(lacking)) if axis not in lacking]
        whole |= dict(zip(axes, shape, strict=True))
    return 2 * math.prod(whole.values())


def _attention(q_shape: Any, k_shape: Any, v_shape: Any, *args: Any, **options: Any) -> int:
    """Return the operations of q kᵀ and of its product with v, over all pairs."""
    pairs = math.prod(q_shape[:-1]) * k_shape[-2]
    return 2 * pairs * (q_shape[-1] + v_shape[-1])


def _attention_backward(g_shape: Any, q_shape: Any, k_shape: Any, v_shape: Any, *args: Any, **options: Any) -> int:
    """Return the operations of the scores, made again, and of the gradients of weights, q, k and v."""
    pairs = math.prod(q_shape[:-1]) * k_shape[-2]
    return 2 * pairs * (3 * q_shape[-1] + 2 * v_shape[-1])


def _real_fft(shape: Any, dims: Any, *args: Any, **options: Any) -> int:
    """Return 2.5·n·log2 n, the operations of a real transform of n numbers as FFTW counts; for prime lengths too."""
    return _fft(shape, dims, 2.5)


def _inverse_real_fft(half_shape: Any, dims: Any, *args: Any, out_shape: Any, **options: Any) -> int:
    """Return the same for a transform to real numbers from half of their spectrum."""
    return _fft(out_shape, dims, 2.5)


def _complex_fft(shape: Any, dims: Any, *args: Any, **options: Any) -> int:
    """Return 5·n·log2 n, the operations of a complex transform of n numbers as FFTW counts."""
    return _fft(shape, dims, 5.0)


def _fft(shape: Any, dims: Any, factor: float) -> int:
    """Return factor · n · Σ log2 of the lengths that are transformed, with n numbers in all."""
    return int(factor * math.prod(shape) * sum(math.log2(max(shape[d], 2)) for d in dims))


_FORMULAS: dict[Any, Callable[..., int]] = {
    _aten.mv: _of_two,
    _aten.dot: _of_two,
    _aten.vdot: _of_two,
    _aten.addmm_: _added,
    _aten._addmm_activation: _added,
    _aten.baddbmm_: _added,
    _aten.addbmm: _added,
    _aten.addbmm_: _added,
    _aten.addmv: _added,
    _aten.addmv_: _added,
    _aten.addr: _rank_one,
    _aten.addr_: _rank_one,
    _aten._int_mm: _of_two,
    _aten._trilinear: _trilinear,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _aten._scaled_dot_product_fused_attention_overrideable: _attention,
    _aten._scaled_dot_product_fused_attention_overrideable_backward: _attention_backward,
    _aten._fft_r2c: _real_fft,
    _aten._fft_c2c: _complex_fft,
    _aten._fft_c2r: _inverse_real_fft,
}
"""Operators that torch's counter leaves out → their operations by the shapes of their arguments, all overloads."""
