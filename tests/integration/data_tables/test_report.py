"""The report as a person sees it: a page from a file, in a real browser."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.cloud import bigquery
from selenium import webdriver
from selenium.webdriver.common.by import By

from f1_training.core.results import report
from f1_training.data.report import as_json, page
from f1_training.registry import report as model_report
from f1_training.registry.card import ModelCard
from f1_training.registry.promotion import Decision
from f1_training.registry.report_figures import figures
from tests.fakes import laps_archive
from tests.integration import browser
from tests.integration.data_tables.conftest import NUMBERS, Pipeline, settings_for
from tests.integration.data_tables.test_damage import DAMAGES
from tests.unit.registry.test_report import card, classifier_card

#: Kept by CI, for people to look at.
SCREENSHOTS = Path(__file__).parents[3] / "var" / "screenshots"
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.browser,
    pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING),
]


@contextlib.contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(browser.CHROMIUM)
    for flag in (*browser.FLAGS, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=str(browser.DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def test_what_failed_comes_first_and_every_plot_has_axes(client: bigquery.Client, tmp_path: Path) -> None:
    pipeline = Pipeline(client, settings_for(f"report{next(NUMBERS)}", tmp_path))
    archive = laps_archive.simulated()
    pipeline.ingest(archive)
    last = pipeline.last = pipeline.validate().statistics
    pipeline.ingest(DAMAGES["lap times in seconds"][0](archive))
    found = pipeline.validate()
    file = tmp_path / "checks.html"
    file.write_text(page("Data checks", {"run": "<b>manual</b>"}, found.results, found.statistics, last))
    document = json.loads(json.dumps(as_json(report(found.results, "run"), found.statistics)))
    assert document["tables"]["laps"]["rows"] == archive["laps"].num_rows
    assert "range(laps.lap_time_ms)" in document["failed"]

    with chromium(tmp_path / "profile") as driver:
        driver.get("about:blank")
        driver.get_log("performance")  # of the browser's own first page
        driver.get(file.as_uri())
        headings = [heading.text for heading in driver.find_elements(By.TAG_NAME, "h2")]
        assert headings[0] == "What failed"
        assert "range(laps.lap_time_ms)" in driver.find_element(By.CSS_SELECTOR, "table.checks").text
        assert driver.find_element(By.CSS_SELECTOR, "table").text == "run <b>manual</b>"
        plots = driver.find_elements(By.TAG_NAME, "svg")
        assert len(plots) == sum(len(one.histograms) for one in found.statistics.values())
        for plot in plots:
            label = plot.get_attribute("aria-label")
            assert label is not None
            assert ": share of values by " in label
            texts = [text.text for text in plot.find_elements(By.TAG_NAME, "text")]
            assert "share" in texts
            assert texts[-1]  # the axis below: its unit
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
        assert urls == {file.as_uri()}, "the page asks for something else"
        driver.set_window_size(400, 900)
        width = driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= driver.execute_script("return window.innerWidth"), "the page scrolls sideways on a phone"


@contextlib.contextmanager
def seen_as(driver: webdriver.Chrome, scheme: str, width: int) -> Iterator[None]:
    """The page as somebody sees it who prefers ``scheme``, ``width`` CSS pixels wide."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def screenshot(driver: webdriver.Chrome, name: str) -> None:
    """The whole page, to be looked at by a person."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


@pytest.mark.parametrize(("name", "made"), [("regression", card), ("classifier", classifier_card)])
def test_a_version_s_report_opens_from_a_file(tmp_path: Path, name: str, made: Callable[[], ModelCard]) -> None:
    file = tmp_path / "report.html"
    file.write_text(model_report.page(made(), Decision(promote=True, reason="it beats the champion")))
    with chromium(tmp_path / "profile") as driver:
        driver.get("about:blank")
        driver.get_log("performance")
        driver.get(file.as_uri())
        backgrounds = set()
        for scheme, width in (("light", 1400), ("dark", 1400), ("light", 390), ("dark", 390)):
            with seen_as(driver, scheme, width):
                screenshot(driver, f"report-{name}-{scheme}-{width}")
                page_width, window = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
                assert window == width
                assert page_width <= width, "the page scrolls sideways"
                script = "return ['backgroundColor', 'color'].map(n => getComputedStyle(document.body)[n])"
                backgrounds.add((scheme, *driver.execute_script(script)))
                for plot in driver.find_elements(By.TAG_NAME, "svg"):
                    assert plot.size["height"] > 30
                    assert plot.size["width"] >= 400, "too small to read; it scrolls in its frame instead"
        assert len(backgrounds) == 2, "two schemes, two looks"
        plots = driver.find_elements(By.TAG_NAME, "svg")
        assert len(plots) == len([svg for svg in figures(made()).values() if svg])
        for plot in plots:
            assert plot.get_attribute("aria-label")
            assert plot.find_elements(By.CSS_SELECTOR, "line.axis")
            below, beside = (text.text for text in plot.find_elements(By.CSS_SELECTOR, "text.label"))
            assert re.search(r"\(.+\)", below), f"{below!r} has no unit"
            assert beside
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
        assert urls == {file.as_uri()}, "the page asks for something else"
