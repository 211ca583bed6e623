"""Pages that make no request, and in which text stays text."""

from __future__ import annotations

import base64
import hashlib
import re

from formers.plot.page import csv_download, render_page

ATTACK = "</title><script>alert(1)</script>\x1b"


def test_a_page_holds_its_style_and_script_and_allows_nothing_else() -> None:
    page = render_page("plot/page.html.jinja", {"title": "A title"})
    style, script = (re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("style", "script"))
    assert style
    assert script
    for found in (style, script):
        assert base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode() in page
    assert "default-src &#39;none&#39;" in page


def test_text_stays_text() -> None:
    page = render_page("plot/page.html.jinja", {"title": ATTACK})
    assert "<script>alert" not in page
    assert "\x1b" not in page


def test_a_download_reads_back() -> None:
    link = csv_download("a,b\n1,ü\n")
    assert base64.b64decode(link.partition("base64,")[2]).decode() == "a,b\n1,ü\n"
