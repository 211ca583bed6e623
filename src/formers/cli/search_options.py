"""Options of `formers ablate` for larger searches, and the space that they mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli.completion import choices

if TYPE_CHECKING:
    from formers.lab.study.search_space import SearchSpace

_PANEL = "Search"
Search = Annotated[
    list[str] | None,
    typer.Option(
        help="option=values to draw trials from; repeat it: mixer=softmax,linear, depth=1..4, 'lr=log(1e-4..1e-2)', "
        "'mixer=performer(features=8..64)', 'mixer=linear(feature={elu, relu})'.",
        autocompletion=choices,
        rich_help_panel=_PANEL,
    ),
]
Under = Annotated[
    list[str] | None,
    typer.Option(
        help="What a trial may cost: parameters=200k, state=64KiB, flops=2M, latency=5ms. Those beyond are not "
        "trained; the front is quality against the first.",
        rich_help_panel=_PANEL,
    ),
]
Trials = Annotated[int | None, typer.Option(help="Trials that a search trains (30).", rich_help_panel=_PANEL)]
Front = Annotated[
    int | None,
    typer.Option(help="Trials of the front that are ranked with --seeds, at most (8).", rich_help_panel=_PANEL),
]
Together = Annotated[
    int | None,
    typer.Option(
        help="Trials drawn before any of them has a result, as many as --jobs can use (4).", rich_help_panel=_PANEL
    ),
]


def read_space(
    before: SearchSpace | None, search: list[str], under: list[str] | None, numbers: dict[str, Any]
) -> SearchSpace | None:
    """Return the space that the options mean, or the one of a study file with what was given changed; None without one.

    Raises:
        ValueError: for what cannot be searched, and for limits and numbers without a search.
    """
    from formers.lab.study.search_space import SearchSpace, refuse_alone, search_from_texts

    given: dict[str, Any] = {name: value for name, value in {"under": under, **numbers}.items() if value is not None}
    if before is None:
        if search:
            return SearchSpace(options=search_from_texts(search), **given)
        refuse_alone(given)
        return None
    if search:
        given["options"] = search_from_texts(search)
    return replace(before, **given)
