"""The gallery of the site: every report in docs/, with a picture, its study, and the sentence that it opens with."""

from __future__ import annotations

import html
import re
from pathlib import Path

DOCS = Path(__file__).parent
PICTURES = DOCS / "images" / "gallery"
"""Made by docs/pictures.py: a PNG for each report, named like it."""


def reports() -> list[Path]:
    """Return every page: studies in the order in which docs/studies.md tells of them, then pretrained models."""
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    found = sorted((DOCS / "studies").glob("*.html"))
    found.sort(key=lambda path: place if (place := text.find(f"studies/{path.name}")) >= 0 else len(text))
    return found


def gallery() -> str:
    """Return the page: a card for each report."""
    cards = "\n".join(_card(path) for path in reports())
    head = (
        "# Gallery of reports\n\n"
        "Pages as `formers ablate`, `formers adapt` and `formers repair` wrote them, some by earlier versions. Each is "
        "one file that opens offline, in any browser: click one. What they show, and what they do not, is in "
        "[Studies](studies.md) and [Pretrained models](adapt.md)."
    )
    return f'{head}\n\n<div class="gallery">\n{cards}\n</div>\n'


def _card(path: Path) -> str:
    """Return the card of a report."""
    text = path.read_text(encoding="utf-8")
    task = _first(r"<h1>(.*?)</h1>", text) or path.stem
    said = _first(r'<div class="headline">\s*<p>(.*?)</p>', text)
    picture = PICTURES / f"{path.stem}.png"
    shown = f'<img src="images/gallery/{path.stem}.png" alt="" loading="lazy">' if picture.is_file() else ""
    title = path.stem.replace("-", " ").capitalize()
    return (
        f'<a href="{path.relative_to(DOCS)}">{shown}<strong>{html.escape(title)}</strong>'
        f"<small>{html.escape(task)}</small><span>{html.escape(said)}</span></a>"
    )


def _first(pattern: str, text: str) -> str:
    """Return what the first match of a pattern holds, as text; empty without one."""
    found = re.search(pattern, text, re.S)
    return html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip() if found else ""
