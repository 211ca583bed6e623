"""Take the pictures in docs/images of what the library shows in a browser, with chromium.

python docs/pictures.py            all of them
python docs/pictures.py report     those whose name begins so

Pages are the reports in docs/studies and docs/adapt, and the page of a part on the built site (`make site` first).
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from site_gallery import PICTURES as GALLERY
from site_gallery import reports

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
SITE = DOCS.parent / "site"
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
_FADING = 1.0
"""Seconds in which the site's header appears."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture: a page, the window that it is seen in, and how much of it is kept."""

    name: str
    page: Path
    width: int = 1200
    height: int = 1400
    scheme: str = "light"
    media: str = ""
    scale: float = 1.0
    "Pixels of the picture to one of the page."
    at: str = ""
    "A CSS selector: the picture begins a little above what it finds first."


def views(name: str, page: Path, width: int = 1200) -> Iterator[Shot]:
    """Yield the top of a page at a desk, in the dark, on a phone and on paper."""
    yield Shot(name=name, page=page, width=width)
    yield Shot(name=f"{name}-dark", page=page, width=width, scheme="dark")
    yield Shot(name=f"{name}-phone", page=page, width=390, height=1100)
    yield Shot(name=f"{name}-print", page=page, width=760, height=1100, media="print")


def shots() -> Iterator[Shot]:
    """Yield every picture that there is a page for."""
    yield Shot(name="study", page=DOCS / "studies" / "default.html")
    yield from views("report", DOCS / "studies" / "lengths.html")
    yield Shot(name="ranking", page=DOCS / "studies" / "lengths.html", at="#ranking", height=1500)
    yield from views("adapt", DOCS / "studies" / "smollm2-swaps.html")
    yield from views("part", SITE / "parts" / "mixer" / "longformer.html", width=1280)
    for page in reports():
        path = GALLERY.relative_to(IMAGES) / page.stem
        yield Shot(name=str(path), page=page, width=960, height=640, scale=0.5, at="#costs")


def take(browser: Chrome, shot: Shot) -> None:
    """Take one picture and write it."""
    features = [{"name": "prefers-color-scheme", "value": shot.scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": shot.media, "features": features})
    window = {"width": shot.width, "height": shot.height, "deviceScaleFactor": 1, "mobile": shot.width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    browser.get(shot.page.as_uri())
    browser.execute_script("localStorage.clear()")  # where the site keeps light or dark
    browser.refresh()
    time.sleep(_FADING)
    find = "return (document.querySelector(arguments[0]) ?? document.body).getBoundingClientRect().y"
    top = max(0, browser.execute_script(find, shot.at) - 24) if shot.at else 0
    below = browser.execute_script("return document.documentElement.scrollHeight") - top
    clip = {"x": 0, "y": top, "width": shot.width, "height": min(shot.height, below), "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": bool(shot.at), "clip": clip})
    picture = Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")
    if shot.scale != 1:
        picture = picture.resize([round(side * shot.scale) for side in picture.size], Image.Resampling.LANCZOS)
    path = IMAGES / f"{shot.name}.png"
    path.parent.mkdir(exist_ok=True)
    picture.save(path, optimize=True)
    print(f"{path.relative_to(DOCS.parent)}  {path.stat().st_size / 1024:.0f} KiB", flush=True)


def main() -> None:
    """Take the pictures that are asked for."""
    browser_path, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser_path or not driver:
        sys.exit("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    wanted = [shot for shot in shots() if shot.name.startswith(tuple(sys.argv[1:]) or "")]
    for page in sorted({shot.page for shot in wanted if not shot.page.is_file()}):
        print(f"left out: there is no {page.relative_to(DOCS.parent)}", file=sys.stderr)
    options = ChromeOptions()
    options.binary_location = browser_path
    for option in OPTIONS:
        options.add_argument(option)
    browser = Chrome(options=options, service=ChromeService(driver))
    try:
        for shot in wanted:
            if shot.page.is_file():
                take(browser, shot)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
