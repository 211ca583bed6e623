"""A table in the terminal that leaves out columns where there is no room, instead of breaking names and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import Box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_LONG = 16
"""Characters from which on a heading has its unit below it."""
_NO_LIMIT = 10_000
"""A width that every table fits."""


@dataclass(frozen=True, kw_only=True)
class FittingColumn:
    """A heading, whether its cells are text (set left, folded where they must) or numbers (set right, never broken),
    and whether it may be left out: the larger `spare`, the earlier; 0 = never."""

    title: str
    text: bool = False
    spare: int = 0


@dataclass(kw_only=True)
class FittingTable:
    """Cells under columns. Printed by `rich`, it leaves out spare columns until the rest fits, and says which."""

    columns: Sequence[FittingColumn]
    title: str = ""
    caption: str = ""
    box: Box | None = None
    rows: list[tuple[Sequence[str], str]] = field(default_factory=list)

    def add_row(self, cells: Sequence[str], style: str = "") -> None:
        """Add a row of as many cells as there are columns."""
        self.rows.append((cells, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(range(len(self.columns)))
        while self._width(console, options, shown) > options.max_width:
            spare = [index for index in shown if self.columns[index].spare]
            if not spare:
                break
            shown.remove(max(spare, key=lambda index: (self.columns[index].spare, index)))
        yield self._table(shown)
        if left := [column.title for index, column in enumerate(self.columns) if index not in shown]:
            yield Text(f"no room here for: {', '.join(left)}", style="italic dim")
        if self.caption:
            yield Text(self.caption, style="italic dim")

    def _width(self, console: Console, options: ConsoleOptions, shown: Sequence[int]) -> int:
        return Measurement.get(console, options.update(max_width=_NO_LIMIT), self._table(shown)).maximum

    def _table(self, shown: Sequence[int]) -> Table:
        box = {} if self.box is None else {"box": self.box}
        table = Table(title=Text(self.title) if self.title else None, **box)  # type: ignore[arg-type]
        for index in shown:
            column = self.columns[index]
            table.add_column(
                Text(column.title.replace(" (", "\n(") if len(column.title) > _LONG else column.title),
                justify="left" if column.text else "right",
                no_wrap=not column.text,
                overflow="fold",
            )
        for cells, style in self.rows:
            table.add_row(*(Text(cells[index]) for index in shown), style=style)
        return table
