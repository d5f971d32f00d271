"""The report as a person sees it: a page from a file, in a real browser."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import bigquery
from selenium import webdriver
from selenium.webdriver.common.by import By

from f1_training.core.results import report
from f1_training.data.report import as_json, page
from f1_training.registry import report as model_report
from f1_training.registry.promotion import Decision
from tests.fakes import laps_archive
from tests.integration import browser
from tests.integration.data_tables.conftest import NUMBERS, Pipeline, settings_for
from tests.integration.data_tables.test_damage import DAMAGES
from tests.unit.registry.test_report import card

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


def test_a_version_s_report_opens_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(model_report.page(card(), Decision(promote=True, reason="it beats the champion")))
    with chromium(tmp_path / "profile") as driver:
        driver.get("about:blank")
        driver.get_log("performance")
        driver.get(file.as_uri())
        plots = driver.find_elements(By.TAG_NAME, "svg")
        assert len(plots) == 6
        for plot in plots:
            assert plot.get_attribute("aria-label")
            assert plot.size["height"] > 50
            assert plot.find_elements(By.CSS_SELECTOR, "line.axis")
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
        assert urls == {file.as_uri()}, "the page asks for something else"
        driver.set_window_size(400, 900)
        width = driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= driver.execute_script("return window.innerWidth"), "the page scrolls sideways on a phone"
