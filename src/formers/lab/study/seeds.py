"""Seeds of a study: those that rank, and those of a search."""

from __future__ import annotations

from formers.part import quoted
from formers.part.option_types import MISMATCH, accept

_MOST_SEEDS = 10_000
SEARCH_SEEDS = (1000,)
"""Seeds of searches that are not given any."""


def check_seeds(name: str, seeds: tuple[int, ...]) -> None:
    """Raise ValueError for no seeds, one that comes twice, and one that random generators do not take."""
    numbers = all(accept(seed, int) is not MISMATCH for seed in seeds)
    if not seeds or not numbers or len(set(seeds)) < len(seeds):
        raise ValueError(f"{name} must be different whole numbers, at least one, not {quoted(list(seeds))}")
    if unfit := [seed for seed in seeds if not 0 <= seed < 2**32]:
        raise ValueError(f"{name} must lie in 0 … 2³² − 1, which all random generators take, not {quoted(unfit)}")


def check_apart(seeds: tuple[int, ...], search_seeds: tuple[int, ...]) -> None:
    """Raise ValueError for seeds of a search that no generator takes, or that rank, too."""
    check_seeds("search_seeds", search_seeds)
    if both := sorted({*seeds} & {*search_seeds}):
        raise ValueError(
            f"search_seeds: {both[0]} is among the seeds that rank, where what was chosen with it would be at an "
            "advantage; give other ones"
        )


def first_seeds(count: int) -> tuple[int, ...]:
    """Return the seeds 0 … count − 1. Raise ValueError for none or too many."""
    if isinstance(count, bool) or not 1 <= count <= _MOST_SEEDS:
        raise ValueError(f"the number of seeds is from 1 to {_MOST_SEEDS:,}, not {count}")
    return tuple(range(count))
