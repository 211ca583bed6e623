"""The page in a real browser: no request, no error, every control does its work, and it fits a phone, the dark, and
paper."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from formers.lab.report import write_html
from formers.lab.store.records import Results

Study = Callable[[int], Results]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions")
PROBE = "<img src=x onerror=document.title='broken'>\"'</script><script>document.title='broken'</script>"
LONG = 'mixer=sparse(pattern="window(64) | global(0)"), position=rotary(base=10000), residual=danet'


def everything(results: Results) -> Results:
    """Every part of a page, with text from data that tries to be markup, long names, and more arms than looks."""
    rows = [
        replace(
            row,
            arm=row.arm + PROBE if row.arm == "linear" else row.arm,
            cause=row.cause and PROBE,
            samples=(PROBE, *row.samples) if row.samples else (),
            slices={PROBE: {**row.slices["place in the text"], PROBE: 1.7}} if row.slices else {},
            environment={**row.environment, "jobs": "2", PROBE: PROBE},
            command=row.command + PROBE,
        )
        for row in results.rows
    ]
    rows += [
        replace(row, arm=f"{LONG} {index}") for index in range(7) for row in results.rows if row.arm == "dense, danet"
    ]
    return replace(results, title=results.title + PROBE, rows=tuple(rows))


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """Chromium without a screen. In continuous integration it has to be there."""
    if not BROWSER or not DRIVER:
        missing = "chromium and chromedriver are not installed: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    options = ChromeOptions()
    options.binary_location = BROWSER
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    driver.set_window_size(1200, 900)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def page(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_html(everything(study(3)), tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def opened(browser: Chrome, page: Path) -> Iterator[Chrome]:
    """The page, freshly opened; afterwards it must have asked for nothing and complained about nothing."""
    logs(browser)
    browser.get(page.as_uri())
    yield browser
    complaints, requests = logs(browser)
    assert not complaints
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [page.as_uri()]
    assert browser.title.startswith("Which mixer")
    emulate(browser, 1200)


def logs(browser: Chrome) -> tuple[list[Any], list[str]]:
    """What the console says, and every address that was asked for, since the last time."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return browser.get_log("browser"), requests


def emulate(browser: Chrome, width: int, scheme: str = "light", media: str = "") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def all_of(browser: Chrome, selector: str) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, selector)


def one(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def shown(browser: Chrome, arm: str) -> list[bool]:
    """Of every chart on the page that holds an arm, whether it shows it."""
    script = """return [...document.querySelectorAll(".series")].filter(one => one.dataset.arm === arguments[0])
        .map(one => getComputedStyle(one).display !== "none")"""
    return browser.execute_script(script, arm)


def overflow(browser: Chrome) -> int:
    """Pixels by which the page is wider than the window."""
    return browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_a_click_in_any_legend_hides_the_arm_in_every_chart(opened: Chrome) -> None:
    legends = all_of(opened, ".legend")
    assert len(legends) == 3
    for legend in legends:
        item = next(i for i in legend.find_elements(By.TAG_NAME, "li") if i.get_attribute("data-arm") == "softmax")
        item.find_element(By.TAG_NAME, "input").click()
        assert shown(opened, "softmax") == [False] * 9
        boxes = all_of(opened, '.legend li[data-arm="softmax"] input')
        assert [box.is_selected() for box in boxes] == [False] * 3
        assert all(shown(opened, "metric"))
        boxes[0].click()
        assert all(shown(opened, "softmax"))


def test_the_keyboard_switches_arms_and_all_of_them(opened: Chrome) -> None:
    one(opened, '#learning .legend li[data-arm="metric"] input').send_keys(Keys.SPACE)
    assert not any(shown(opened, "metric"))
    every, none = all_of(opened, "#costs .legend .all button")
    none.send_keys(Keys.ENTER)
    assert not any(shown(opened, "softmax"))
    every.send_keys(Keys.ENTER)
    assert all(shown(opened, "metric"))


def test_curves_are_against_steps_or_time(opened: Chrome) -> None:
    steps, seconds = one(opened, ".curve.by-step"), one(opened, ".curve.by-seconds")
    assert (steps.is_displayed(), seconds.is_displayed()) == (True, False)
    one(opened, "#by-seconds").click()
    assert (steps.is_displayed(), seconds.is_displayed()) == (False, True)


def test_one_chart_of_costs_at_a_time_is_chosen_by_its_axis(opened: Chrome) -> None:
    charts = all_of(opened, "#costs .chart")
    assert [chart.is_displayed() for chart in charts] == [True, False, False, False, False]
    labels = all_of(opened, "#costs .choices label")
    first_words = [label.text.partition(" ")[0] for label in labels]
    assert first_words == ["training", "parameters", "FLOPs/token", "state", "peak"]
    labels[1].click()
    assert [chart.is_displayed() for chart in charts] == [False, True, False, False, False]


def arms_in_order(browser: Chrome) -> list[str]:
    rows = all_of(browser, "#ranking tbody tr[data-arm]")
    return [row.get_attribute("data-arm") for row in rows if row.is_displayed()]


def test_the_ranking_sorts_by_a_column_and_back(opened: Chrome) -> None:
    ranked = arms_in_order(opened)
    time = next(button for button in all_of(opened, "#ranking thead button") if button.text.startswith("training"))
    time.click()
    fastest = arms_in_order(opened)
    assert fastest[0] == "identity"
    assert one(opened, "#ranking th[aria-sort=ascending]").text.startswith("training time")
    time.click()
    assert arms_in_order(opened)[0] == "metric"
    one(opened, "#ranking thead button").click()
    assert arms_in_order(opened) == ranked


def test_a_search_leaves_only_arms_with_the_text(opened: Chrome) -> None:
    find = one(opened, "#ranking .find")
    find.send_keys("METR")
    assert arms_in_order(opened) == ["metric"]
    assert all(shown(opened, "metric"))
    assert not any(shown(opened, "softmax"))
    find.send_keys(Keys.BACKSPACE * 4)
    assert len(arms_in_order(opened)) > 12
    assert all(shown(opened, "softmax"))


def choose(browser: Chrome, label: str, value: str) -> None:
    """Set the list of the ranking that has this label."""
    lists = all_of(browser, "#ranking .filters label")
    Select(next(it for it in lists if it.text.startswith(label)).find_element(By.TAG_NAME, "select")).select_by_value(
        value
    )


def test_arms_are_filtered_by_a_part_and_by_rank_on_the_whole_page(opened: Chrome) -> None:
    choose(opened, "mixer", "pool")
    assert arms_in_order(opened) == ["pool"]
    assert all(shown(opened, "pool"))
    assert not any(shown(opened, "softmax"))
    assert {it.get_attribute("data-arm") for it in all_of(opened, "#learning .small") if it.is_displayed()} == {"pool"}
    assert one(opened, "#ranking .filters [role=status]").text.startswith("1 of 14 arms")
    choose(opened, "mixer", "")
    choose(opened, "best", "10")
    assert len(arms_in_order(opened)) == 10
    assert "softmax" in arms_in_order(opened)
    choose(opened, "best", "")
    assert len(arms_in_order(opened)) == 14


@pytest.mark.parametrize("kind", ["SVG", "PNG"])
def test_a_chart_is_saved_as_a_file_with_its_colours(opened: Chrome, kind: str) -> None:
    """What the button would download, caught on its way."""
    catch = """HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; };
        [...document.querySelectorAll("#costs .save button")].find(one => one.textContent === arguments[0]).click();"""
    opened.execute_script(catch, kind)
    ready = (
        "const done = arguments[0]; const ask = () => window.saved ? done(window.saved) : setTimeout(ask, 50); ask()"
    )
    name, address = opened.execute_async_script(ready)
    assert name == f"test-loss-against-training-time.{kind.lower()}"
    header, _, body = address.partition(",")
    if kind == "SVG":
        drawing = ElementTree.fromstring(unquote(body))
        styles = [shape.get("style", "") for shape in drawing.iter() if "shape" in shape.get("class", "")]
        assert styles
        assert all("fill: rgb(" in style for style in styles)
    else:
        assert header == "data:image/png;base64"
        picture = pytest.importorskip("PIL.Image").open(io.BytesIO(base64.b64decode(body)))
        assert picture.size == (1440, 990)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20, "it is not blank"


def test_details_open_and_commands_copy(opened: Chrome) -> None:
    for details in all_of(opened, "details"):
        before = details.get_attribute("open")
        details.find_element(By.TAG_NAME, "summary").click()
        assert details.get_attribute("open") != before
        if before:
            details.find_element(By.TAG_NAME, "summary").click()
    origin = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    opened.execute_cdp_cmd("Browser.grantPermissions", origin)
    for button in [one(opened, "#repeat p.command button"), all_of(opened, "#repeat td.command button")[-1]]:
        code = button.parent.execute_script("return arguments[0].parentNode.querySelector('code').textContent", button)
        button.click()
        script = "const done = arguments[0]; navigator.clipboard.readText().then(done, error => done(String(error)))"
        assert opened.execute_async_script(script) == code
        assert button.text == "copied"


def test_the_pointer_tells_what_is_under_it(opened: Chrome) -> None:
    mark = one(opened, "#costs .chart .series .shape")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    at = """const box = arguments[0].getBoundingClientRect();
        arguments[0].closest("svg").dispatchEvent(new PointerEvent("pointermove", {
            bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2}))"""
    opened.execute_script(at, mark)
    assert one(opened, ".tip").is_displayed()
    assert one(opened, ".tip b").text in {series.get_attribute("data-arm") for series in all_of(opened, ".series")}


def test_text_from_data_made_no_element(opened: Chrome) -> None:
    assert not all_of(opened, "img")
    assert len(all_of(opened, "script")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone_and_a_desk_by_day_and_by_night(opened: Chrome, width: int, scheme: str) -> None:
    emulate(opened, width, scheme)
    assert overflow(opened) == 0
    paper, ink = opened.execute_script("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
    dark, light = (sum(map(int, colour[4:-1].split(", "))) for colour in sorted([paper, ink], key=len))
    assert (sum(map(int, paper[4:-1].split(", "))) < 200) == (scheme == "dark")
    assert abs(dark - light) > 450
    over = """const marks = [...document.querySelectorAll("#costs .chart")]
            .map(chart => [...chart.querySelectorAll(".name")].map(name => name.getBoundingClientRect()));
        return marks.some(boxes => boxes.some((a, i) => boxes.some((b, j) => i < j
            && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)))"""
    assert not opened.execute_script(over)


def test_paper_shows_everything_and_no_controls(opened: Chrome) -> None:
    emulate(opened, 1200, "dark", media="print")
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not any(button.is_displayed() for button in all_of(opened, "button"))
    seen = """return [...document.querySelectorAll("details tr")].map(row =>
        row.checkVisibility({contentVisibilityAuto: true}) && row.getBoundingClientRect().height > 0)"""
    assert all(opened.execute_script(seen))
    assert all(box.value_of_css_property("display") == "none" for box in all_of(opened, ".legend input"))


def test_without_scripts_it_is_all_there_as_tables_and_pictures(opened: Chrome, page: Path) -> None:
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened.get(page.as_uri())
        logs(opened)
        opened.get(page.as_uri())
        assert not all_of(opened, "html.js")
        assert one(opened, "#ranking tbody tr").is_displayed()
        assert len(all_of(opened, "#costs .chart")) == 5
        assert all(chart.is_displayed() for chart in all_of(opened, "#costs .chart, #slices .chart, .curve.by-step"))
        assert not any(box.is_displayed() for box in all_of(opened, ".legend input"))
        one(opened, "#by-seconds").click()
        assert one(opened, ".curve.by-seconds").is_displayed()
        one(opened, "#learning summary").click()
        assert one(opened, "#learning details td").is_displayed()
    finally:
        opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
