"""Accuracy of finding a fact in texts of several lengths, with the fact at several depths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from formers.evaluation.harness_model import Progress
from formers.evaluation.needle_text import NeedleText, Prompt
from formers.evaluation.text_model import TextModel
from formers.evaluation.writing import Writing, continuations


@dataclass(frozen=True, kw_only=True)
class NeedleGrid:
    """What was found.

    Attributes:
        lengths: tokens of the texts, with what the answer takes.
        depths: shares of the text before the fact, from 0 to 1.
        each: texts at each length and depth.
        shares: the share of the answers that were found, (lengths, depths).
    """

    lengths: tuple[int, ...]
    depths: tuple[float, ...]
    each: int
    shares: tuple[tuple[float, ...], ...]

    @property
    def accuracy(self) -> float:
        """The mean over all lengths and depths."""
        cells = [share for row in self.shares for share in row]
        return sum(cells) / len(cells)

    def at_length(self, length: int) -> float:
        """Return the mean over the depths at a length."""
        row = self.shares[self.lengths.index(length)]
        return sum(row) / len(row)


def find_needles(
    model: TextModel,
    text: NeedleText,
    lengths: Sequence[int],
    depths: Sequence[float],
    each: int,
    *,
    file: Path | None = None,
    progress: Progress | None = None,
) -> NeedleGrid:
    """Return which share of the answers a model finds, `each` texts at every length and depth.

    An answer counts where the model writes it, among the likeliest tokens that follow the question, up to the end of
    the line. The model reads texts whole, whatever length it was made for.

    Args:
        file: lines of JSON, to which each cell is added as it is measured, and from which those are taken that are
            there already.

    Raises:
        ValueError: for a length at which the facts leave no room for the text.
    """
    model = replace(model, length=model.length if model.carries else max(lengths))
    known = _known(file)
    cells = [(length, depth) for length in lengths for depth in depths]
    prompts = {cell: [text.prompt(*cell, seed=seed) for seed in range(each)] for cell in cells}
    for done, cell in enumerate(cells):
        if progress is not None:
            progress(done, len(cells))
        if (*cell, each) not in known:
            known[*cell, each] = _share(model, prompts[cell], text.room)
            _add(file, *cell, each, known[*cell, each])
    shares = tuple(tuple(known[length, depth, each] for depth in depths) for length in lengths)
    return NeedleGrid(lengths=tuple(lengths), depths=tuple(depths), each=each, shares=shares)


def _share(model: TextModel, prompts: Sequence[Prompt], room: int) -> float:
    """Return the share of the answers that the model writes."""
    writing = Writing(tokens=room, until=("\n",))
    found = dict(continuations(model, [prompt.tokens for prompt in prompts], writing))
    rights = [
        sum(answer in found[number].text for answer in prompt.answers) / len(prompt.answers)
        for number, prompt in enumerate(prompts)
    ]
    return sum(rights) / len(rights)


def _known(file: Path | None) -> dict[tuple[int, float, int], float]:
    """Return the cells of a file. A line that is broken off, as the last one may be, is measured again."""
    if file is None or not file.is_file():
        return {}
    known = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            length, depth, each, share = json.loads(line)
        except ValueError:
            continue
        known[length, depth, each] = share
    return known


def _add(file: Path | None, *cell: float) -> None:
    """Add a cell to a file."""
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(cell) + "\n")
