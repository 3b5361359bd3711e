"""A report in a browser: it draws without errors and network, and answers the reader."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pymoo_nas import report

KEPT = Path(__file__).parent / "data" / "before_rooms"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
    ),
]


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small search."""
    return report(finished, out=tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser without a window, which keeps logs of its console and its requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


def wait_for(found: Callable[[], Any]) -> Any:
    """The first value that is true, within thirty seconds."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("nothing came within thirty seconds")


def opened(browser: Any, page: Path, *, width: int = 1000, scheme: str = "light") -> None:
    """Open a page and wait until its charts are drawn."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.resolve().as_uri())
    wait_for(lambda: browser.execute_script("return document.documentElement.dataset.drawn"))


def points(browser: Any) -> list[Any]:
    """The candidates in the front, the last drawn at the end."""
    chart = browser.find_element("css selector", '[data-chart="front"]')
    browser.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", chart)
    found: list[Any] = chart.find_elements("css selector", ".mark-symbol.role-mark path")
    return found


def requests(browser: Any) -> list[str]:
    """The addresses that the browser asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one for one in messages if one["method"] == "Network.requestWillBeSent"]
    return [one["params"]["request"]["url"] for one in sent]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1000])
def test_pages_draw_all_charts(browser: Any, page: Path, width: int, scheme: str) -> None:
    """No message in the console, no request but the page itself, no page wider than the screen."""
    opened(browser, page, width=width, scheme=scheme)
    assert browser.get_log("browser") == []
    others = [url for url in requests(browser) if not url.startswith("data:")]
    assert others == [page.resolve().as_uri()]
    charts = browser.find_elements("css selector", "[data-chart]")
    assert charts
    assert all(chart.find_elements("css selector", "svg") for chart in charts)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width


def test_earlier_runs_draw(browser: Any, tmp_path: Path) -> None:
    """The report of a run of an earlier version, with a training, has no error either."""
    shutil.copytree(KEPT / "run", tmp_path / "run")
    opened(browser, report(tmp_path / "run"))
    assert browser.get_log("browser") == []
    assert browser.find_elements("css selector", '[data-chart="confusion"] svg')


def test_pointing_at_a_candidate(browser: Any, page: Path) -> None:
    """A tooltip tells the genotype, and shows the drawing of an important cell."""
    from selenium.webdriver.common.action_chains import ActionChains

    opened(browser, page)
    rows = browser.execute_script(
        "return JSON.parse(document.getElementById('report-data').textContent)"
        ".specs.front.layer[0].data.values"
    )
    ActionChains(browser).move_to_element(points(browser)[-1]).perform()
    tooltip = wait_for(lambda: browser.find_elements("id", "vg-tooltip-element"))[0]
    wait_for(lambda: rows[-1]["genotype"] in tooltip.text)
    assert tooltip.find_element("css selector", "img").get_property("naturalWidth") > 0


def test_another_axis(browser: Any, page: Path) -> None:
    """Choosing another axis moves the candidates and changes the title of the axis."""
    from selenium.webdriver.support.ui import Select

    opened(browser, page)
    before = [point.get_attribute("transform") for point in points(browser)]
    choice = Select(browser.find_elements("css selector", '[data-chart="front"] select')[0])
    choice.select_by_visible_text("parameters")
    wait_for(lambda: [p.get_attribute("transform") for p in points(browser)] != before)
    chart = browser.find_element("css selector", '[data-chart="front"] svg')
    assert "parameters →" in chart.text


def test_a_rectangle_lists_candidates(browser: Any, page: Path) -> None:
    """The table holds the candidates in the rectangle; without one it holds all."""
    from selenium.webdriver.common.action_chains import ActionChains

    def listed() -> int:
        return len(browser.find_elements("css selector", "#brushed-table tbody tr"))

    opened(browser, page)
    found = points(browser)
    everything = listed()
    assert everything == len(found)
    point = found[-1]
    drag = ActionChains(browser).move_to_element_with_offset(point, -12, -12).click_and_hold()
    drag.move_by_offset(26, 26).release().perform()
    wait_for(lambda: 0 < listed() < everything)
    assert "candidates." in browser.find_element("id", "brushed-count").text
