"""The documentation builds as a site, without a link that leads nowhere."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def test_the_site_builds_and_every_link_leads_somewhere(tmp_path: Path, python: Any) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install formers[site]")
    environment = {**os.environ, "FORMERS_SITE_QUICK": "1", "NO_MKDOCS_2_WARNING": "1"}
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    done = python.run(*words, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.err[-3000:]
    page = (tmp_path / "site" / "parts" / "mixer" / "performer.html").read_text()
    assert "The formula as code" in page
    assert "arxiv.org/abs/2009.14794" in page
    assert re.findall(r"<code>[^<]*\\\|[^<]*</code></td>", (tmp_path / "site" / "parts.html").read_text()) == []
    for place in (tmp_path / "site").glob("*.html"):
        text = place.read_text()
        assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text)), place.name
    for room in ("formers", "formers.adapt", "formers.lab", "formers.models", "formers.ops"):
        text = (tmp_path / "site" / "interface" / f"{room}.html").read_text()
        shown = {full.rpartition(".")[2] for full in re.findall(r'<h2 id="([^"]+)"', text)}
        assert set(import_module(room).__all__) - {"__version__"} <= shown


def test_every_report_has_a_picture_in_the_gallery() -> None:
    missing = [page.stem for page in (ROOT / "docs" / "studies").glob("*.html") if not picture(page).is_file()]
    assert missing == [], "make pictures takes them"


def picture(page: Path) -> Path:
    return ROOT / "docs" / "images" / "gallery" / f"{page.stem}.png"
