"""The table of the house in CONTRIBUTING.md: every room, the first sentence of its docstring, and what it may
import."""

from __future__ import annotations

import ast
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "src" / "formers"
PARTS = ("part", "ops", "patterns", "positions", "mixers", "memory", "norms", "ffn", "residuals", "computation")
ABOVE_PARTS = (*PARTS, "catalogue", "models")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "ops": (),
    "part": (),
    "patterns": ("part", "ops"),
    "positions": ("part", "ops"),
    "mixers": ("part", "ops", "patterns", "positions"),
    "memory": ("part", "ops", "mixers"),
    "norms": ("part", "ops"),
    "ffn": ("part", "ops", "mixers"),
    "residuals": ("part", "ops", "mixers", "norms", "ffn"),
    "computation": ("part", "ops", "mixers", "positions", "residuals"),
    "catalogue": PARTS,
    "models": PARTS,
    "testing": ABOVE_PARTS,
    "machine": (),
    "tasks": (*ABOVE_PARTS, "machine"),
    "retrieval": (*ABOVE_PARTS, "machine"),
    "plot": ("machine",),
    "bench": (*ABOVE_PARTS, "testing", "machine", "plot"),
    "lab": (*ABOVE_PARTS, "tasks", "machine", "plot", "bench"),
    "adapt": (*ABOVE_PARTS, "tasks", "machine", "plot", "bench", "lab"),
    "evaluation": (*ABOVE_PARTS, "tasks", "machine", "plot"),
    "cli": (*ABOVE_PARTS, "adapt", "testing", "tasks", "machine", "retrieval", "plot", "bench", "lab", "evaluation"),
}
"""Room → the rooms that it may import from, from the ground up. tests/test_house.py holds the code to it."""
WORDS = {PARTS: "all parts", ABOVE_PARTS: "models and all parts"}
"""Short words for sets of rooms that many rooms may import."""


def house_table() -> str:
    """Return the table: the rooms in the order of `MAY_IMPORT`, and under each the folders in it."""
    lines = ["| package | what is in it | may import |", "|---|---|---|"]
    for room, imports in MAY_IMPORT.items():
        path = HOUSE / room
        if not path.is_dir():
            lines.append(f"| `{room}.py` | {sentence(path.with_suffix('.py'))} | {in_words(imports)} |")
            continue
        lines.append(f"| `{room}/` | {sentence(path / '__init__.py')} | {in_words(imports)} |")
        for inner in sorted(folder for folder in path.iterdir() if (folder / "__init__.py").exists()):
            lines.append(f"| `{room}/{inner.name}/` | {sentence(inner / '__init__.py')} | |")
    return "\n".join(lines)


def sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring as a cell of a table."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".").replace("|", "\\|")


def in_words(rooms: tuple[str, ...]) -> str:
    """Return the rooms as a list, known sets of them by their words."""
    for known, words in WORDS.items():
        if rooms[: len(known)] == known:
            return ", ".join([words, *(f"`{room}`" for room in rooms[len(known) :])])
    return ", ".join(f"`{room}`" for room in rooms) or "none of the others"
