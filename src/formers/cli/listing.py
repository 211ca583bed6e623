"""`formers list`: what there is."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Annotated

import typer

from formers.cli import options
from formers.cli.console import table_console
from formers.cli.say import say

if TYPE_CHECKING:
    from formers.part import Part


def list_parts(
    axis: Annotated[str | None, typer.Argument(help="One axis, such as mixer; all of them without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
    parts: options.Parts = None,
) -> None:
    """List every part by axis, and the tasks, with a line on each.

    \b
    formers list
    formers list mixer
    """
    from rich.markup import escape
    from rich.table import Table

    from formers.part import check_names

    groups = parts_by_axis()
    if axis is not None:
        check_names("formers", [axis], list(groups), word="axis")
    wanted = {axis: groups[axis]} if axis else groups
    if as_json:
        say(
            json.dumps(
                {name: {kind.name(): _summary(kind) for kind in kinds} for name, kinds in wanted.items()}, indent=1
            )
        )
        return
    table = Table.grid(padding=(0, 2))
    for name, kinds in wanted.items():
        table.add_row(f"[bold]{name}[/bold]", escape(_summary(kinds[0].axis)))
        for kind in kinds:
            table.add_row(f"  {kind.name()}", escape(_summary(kind)))
        table.add_row()
    table_console().print(table, highlight=False)


def parts_by_axis() -> dict[str, tuple[type[Part], ...]]:
    """Return axis → its parts; patterns, which mixers are made from, rules of exits, oracles and tasks are axes too."""
    from formers.catalogue import AXES, members
    from formers.computation import DepthOracle, ExitRule
    from formers.part import own_kinds
    from formers.patterns import PATTERNS
    from formers.tasks import TASKS

    within = {"pattern": PATTERNS, "exit rule": ExitRule.kinds(), "depth oracle": DepthOracle.kinds(), "task": TASKS}
    library = {name: members(axis) for name, axis in AXES.items() if members(axis)} | within
    return {name: kinds + own_kinds(kinds[0].axis) for name, kinds in library.items()}


def _summary(part: type[Part]) -> str:
    """Return the first paragraph of a part's documentation, up to its first full stop."""
    first = inspect.cleandoc(part.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return first.partition(". ")[0].rstrip(".")
