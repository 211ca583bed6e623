"""The sizes of measurements: one of them varies, the others stand still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from formers.part import Site, quoted


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of one measurement: B sequences of L tokens, D wide, H heads."""

    length: int
    width: int
    heads: int
    batch: int

    def site(self, causal: bool) -> Site:
        """Return the site at which a part of these sizes is built."""
        return Site(width=self.width, heads=self.heads, causal=causal, context_length=self.length)


AXES = tuple(field.name for field in fields(Sizes))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Values for each size; at most one of them has several.

    Raises:
        ValueError: for a value below 1, two sizes that vary, or a width that does not divide into the heads.
    """

    length: tuple[int, ...] = (512, 1024, 2048, 4096, 8192)
    width: tuple[int, ...] = (256,)
    heads: tuple[int, ...] = (4,)
    batch: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for axis in AXES:
            values = tuple(sorted(set(getattr(self, axis))))
            if not values or values[0] < 1:
                raise ValueError(f"{axis} must be 1 or more, but {list(getattr(self, axis))} was given")
            object.__setattr__(self, axis, values)
        if len(self.varied) > 1:
            raise ValueError(
                f"{' and '.join(self.varied)} have several values each; "
                "vary one size at a time and give the others one value"
            )
        for sizes in self:
            sizes.site(causal=False).head_width  # noqa: B018  raises where the heads do not fit

    @property
    def varied(self) -> list[str]:
        """Return the names of the sizes with several values."""
        return [axis for axis in AXES if len(getattr(self, axis)) > 1]

    @property
    def axis(self) -> str:
        """Return the size that varies; the length where none does."""
        return next(iter(self.varied), "length")

    @property
    def values(self) -> tuple[int, ...]:
        """Return the values of the size that varies, ascending."""
        return getattr(self, self.axis)

    def __iter__(self) -> Iterator[Sizes]:
        first = {axis: getattr(self, axis)[0] for axis in AXES}
        return iter([Sizes(**{**first, self.axis: value}) for value in self.values])


def read_sizes(name: str, text: str) -> tuple[int, ...]:
    """Return the sizes in `512`, `512,2048` or `512..4096` (doubling). Raise ValueError for anything else."""
    try:
        if ".." in text:
            low, high = (int(piece) for piece in text.split(".."))
            return _doubled(low, high)
        return tuple(int(piece) for piece in text.split(","))
    except ValueError:
        raise ValueError(
            f"--{name} {quoted(text)} is neither a number (512), nor a list (512,2048), "
            "nor a range to double through (512..4096)"
        ) from None


def _doubled(low: int, high: int) -> tuple[int, ...]:
    if low < 1 or high < low:
        raise ValueError(f"cannot double from {low} to {high}")
    values = [low]
    while values[-1] * 2 <= high:
        values.append(values[-1] * 2)
    return tuple(values)


def size_text(values: Sequence[int]) -> str:
    """Return text that `read_sizes` reads back."""
    if len(values) > 2 and tuple(values) == _doubled(values[0], values[-1]):
        return f"{values[0]}..{values[-1]}"
    return ",".join(map(str, values))
