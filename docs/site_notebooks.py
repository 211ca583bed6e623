"""Executed notebooks as pages of the site: text as it is, code in a box, and below it what it printed and drew."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parent / "notebooks"
TITLES = {
    "attention_variants": "What an attention variant does",
    "first_study": "A first study",
    "long_inputs": "Long inputs",
}
"""Notebooks in the order of the navigation."""
WIDE = "---\nhide: [toc]\n---\n\n"
"""Code needs the room of the table of contents."""


def notebook_files() -> dict[str, str | bytes]:
    """Return the page of every notebook, and its pictures, by their paths on the site."""
    found: dict[str, str | bytes] = {}
    for stem in TITLES:
        notebook = json.loads((NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8"))
        pictures: list[bytes] = []
        blocks = [block for cell in notebook["cells"] for block in _cell(cell, stem, pictures)]
        note = (
            f"*This page is a notebook with the outputs of its last run: [{stem}.ipynb]({stem}.ipynb){{: download }}.*"
        )
        found[page_of_notebook(stem)] = WIDE + "\n\n".join([blocks[0], note, *blocks[1:]]) + "\n"
        found |= {f"notebooks/{stem}-{number}.png": picture for number, picture in enumerate(pictures)}
    return found


def page_of_notebook(stem: str) -> str:
    """Return the path of a notebook's page."""
    return f"notebooks/{stem}.md"


def _cell(cell: dict[str, Any], stem: str, pictures: list[bytes]) -> Iterator[str]:
    """Yield a cell as Markdown; add the pictures in it to `pictures`."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", source)
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            yield f"![What the code above draws]({stem}-{len(pictures)}.png)"
            pictures.append(base64.b64decode("".join(data["image/png"])))
        elif "text/markdown" in data:
            yield "".join(data["text/markdown"])
        elif text := "".join(output.get("text", data.get("text/plain", ""))).rstrip():
            yield f"```text\n{text}\n```"
