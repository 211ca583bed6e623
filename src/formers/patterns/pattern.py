"""The pattern axis: which pairs of tokens see each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, dataclass_transform

import torch
from torch import Tensor

from formers.ops import fixed_size
from formers.ops.sparse_attention import Fold, block_lists, number_of
from formers.part import Part, Site

_FARTHEST = 1 << 31
"""Products of two such numbers can still be counted in 64 bits."""


@dataclass_transform(frozen_default=True, kw_only_default=False)
class Pattern(Part):
    """A set of (query, key) pairs. `a & b`, `a | b` and `~a` are patterns, too; in text as in Python.

    A new one needs `mask` only. `bounds` lets block lists skip what is surely empty without looking at every pair;
    `causal_form` is the causal pattern where that is more than leaving out the future.
    """

    positional = True
    operators: ClassVar[dict[str, Callable[..., Any]]] = {}
    "The patterns that `&`, `|` and `~` make; `combined.py` registers them."
    option_names: ClassVar[tuple[str, ...]] = ()
    "The names of the options: what compiled graphs read."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.option_names = tuple(option.name for option in fields(cls))  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in vars(self).items():
            numbers = value if isinstance(value, tuple) else (value,) if name != "seed" else ()
            if any(isinstance(number, int) and abs(number) > _FARTHEST for number in numbers):
                raise ValueError(f"{self}: {name} is at most {_FARTHEST:,}, a place in a sequence or a distance in it")

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        """Return True where query i sees key j, for token indices that broadcast.

        It is FlexAttention's `mask_mod` without its b and h.
        """
        raise NotImplementedError(f"{self.name()} must define mask(q_idx, k_idx)")

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for the pairs [q_lo, q_hi] × [k_lo, k_hi], whether any may be in, and whether surely all are."""
        maybe = torch.ones(torch.broadcast_shapes(q_lo.shape, k_lo.shape), dtype=torch.bool)
        return maybe, ~maybe

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        """Return `mask` as a function for kernels that compile it.

        It is arithmetic on the indices, and reads tensors on this device alone, at single places. A pattern whose
        `mask` makes or looks up tensors overrides this.
        """
        return self.mask

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        """Return the pattern for a known number of tokens, and without what lies in the future when causal."""
        pattern = self.sized(length)
        return pattern.causal_form() if causal else pattern

    def sized(self, length: int) -> Pattern:
        """Return the pattern for a known number of tokens."""
        return self

    def causal_form(self) -> Pattern:
        """Return the pattern as a causal model means it: without the future."""
        return self & Causal()

    def at_layer(self, layer: int) -> Pattern:
        """Return the pattern in one layer of a model: another one where it is drawn at random."""
        return self

    def folded(self, length: int) -> Fold | None:
        """Return an order of the tokens in which the pairs lie closer together, or None where there is none."""
        return None

    def number(self) -> int:
        """Return the number that equal patterns share in this process. Compilers take it as a constant, and make a new
        graph for other options."""
        return self._number(*_plain(self))

    def _number(self, *options: Any) -> int:
        return number_of(self)

    # What `torch.compiler.assume_constant_result` does, without importing the compiler. The options are given so that
    # graphs are checked by them: torch 2.11 looks at nothing of an object whose method it does not trace.
    _number._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` where an option could have no effect at a site, such as a token that is never there."""

    def longest(self) -> int | None:
        """Return the most tokens that the pattern makes sense for; None without a limit. There is no least number."""
        return None

    def fits(self, length: int) -> None:
        """Raise `ValueError` for more tokens than the pattern makes sense for."""
        longest = self.longest()
        if longest is not None and length > longest:
            raise ValueError(f"{self} is for up to {longest} tokens, but {length} were given")

    def needs_length(self) -> bool:
        """Return True if the pairs depend on how many tokens there are. Such a pattern cannot stream."""
        return False

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        """Return True for the keys that a causal model must remember for the queries from `next_idx` on."""
        return torch.ones_like(k_idx + next_idx, dtype=torch.bool)

    def memory(self) -> int | None:
        """Return the most keys that `recalled` ever names at once; None without a limit."""
        return None

    def sees_latest(self) -> bool:
        """Return True if every query of a causal model sees exactly itself and the `memory()` tokens before it."""
        return False

    def growth(self) -> float:
        """Return the power of the length that the number of pairs grows with."""
        return 2.0

    def density(self, length: int, *, causal: bool = False) -> float:
        """Return the share of all length² pairs that the pattern contains."""
        return block_lists(self.resolve(length=length, causal=causal), length, length).pairs / length**2

    def reaches(self, length: int, steps: int = 1, *, causal: bool = False) -> Tensor:
        """Return which tokens reach which in so many layers, (length, length) bool. For small lengths."""
        tokens = torch.arange(length)
        one = self.resolve(length=length, causal=causal).mask(tokens[:, None], tokens[None, :])
        return compose([one.expand(length, length)] * steps)

    def __and__(self, other: Pattern) -> Pattern:
        return self.operators["&"](self, other) if isinstance(other, Pattern) else NotImplemented

    def __or__(self, other: Pattern) -> Pattern:
        return self.operators["|"](self, other) if isinstance(other, Pattern) else NotImplemented

    def __invert__(self) -> Pattern:
        return self.operators["~"](self)


def compose(layers: list[Tensor]) -> Tensor:
    """Return the pairs that a stack of layers connects, from the first on: their boolean product, with residuals."""
    reached = torch.eye(len(layers[0]), dtype=torch.bool)
    for layer in layers:
        reached = reached | ((layer.float() @ reached.float()) > 0)
    return reached


class Every(Pattern):
    """Every pair."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return torch.ones_like(q_idx + k_idx, dtype=torch.bool)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        all_in = torch.ones(torch.broadcast_shapes(q_lo.shape, k_lo.shape), dtype=torch.bool)
        return all_in, all_in

    def causal_form(self) -> Pattern:
        return Causal()


class Causal(Pattern):
    """j ≤ i: nothing that lies in the future."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return k_idx <= q_idx

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return k_lo <= q_hi, k_hi <= q_lo

    def causal_form(self) -> Pattern:
        return self


def _plain(value: Any) -> Any:
    """Return a pattern's options, and those of patterns in it, as tuples of numbers and words.

    Of whole numbers compilers would leave those open that have changed once: each is fixed, of either sign.
    """
    if isinstance(value, Pattern):
        return tuple(_plain(getattr(value, name)) for name in value.option_names)
    if isinstance(value, tuple):
        return tuple(_plain(one) for one in value)
    return fixed_size(value) - fixed_size(-value) if isinstance(value, int) else value
