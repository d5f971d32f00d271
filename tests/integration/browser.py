"""A real headless Chromium, as a person would use it: at Airflow's UI (log in, trigger, look at the run), at the dashboard."""

from __future__ import annotations

import base64
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "" if CHROMIUM and DRIVER else "Debian's chromium and chromium-driver are not installed"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1200",
)
WAIT_S = 40


class AirflowPage:
    """The few things the tests do in the UI; every wait has a deadline."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        self._url = url

    def log_in(self, user: str, password: str) -> None:
        self._driver.get(self._url)
        self._find("input[name=username]").send_keys(user)
        self._find("input[name=password]").send_keys(password)
        self._find("button[type=submit]").click()
        self._wait(lambda d: "/auth/login" not in d.current_url)

    def trigger(self, dag_id: str, params: dict[str, str], run_id: str) -> None:
        """Fill in the trigger form and press its button."""
        self._driver.get(f"{self._url}/dags/{dag_id}")
        self._find("[data-testid=trigger-dag-button]").click()
        for name, value in params.items():
            self._fill_in(name, value)
        self._find("[role=dialog] button[id$='trigger:advancedOptions'], button[id$='trigger:advancedOptions']").click()
        self._type(self._find("input[name=dagRunId]"), run_id)
        submit = self._find("[data-testid=trigger-dag-submit]")
        self._wait(lambda _: submit.is_enabled())
        submit.click()
        self._wait(lambda d: not d.find_elements(By.CSS_SELECTOR, "[data-testid=trigger-dag-submit]"))

    def leave(self) -> None:
        """Look at nothing: a page of a run that goes on keeps a core busy."""
        self._driver.get("about:blank")

    def approve(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Press *Approve* on the task's page of required actions."""
        self._driver.get(f"{self._url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/required_actions")
        self._wait(lambda d: self._button(d, "Approve"))
        self._button(self._driver, "Approve").click()
        self._wait(lambda d: not self._button(d, "Approve"))

    def _button(self, driver: webdriver.Chrome, text: str) -> WebElement | None:
        buttons = driver.find_elements(By.XPATH, f"//button[normalize-space()='{text}']")
        return next((b for b in buttons if b.is_displayed() and b.is_enabled()), None)

    def run_page_text(self, dag_id: str, run_id: str, until: str) -> str:
        """The text of the run's page, once it shows ``until``."""
        self._driver.get(f"{self._url}/dags/{dag_id}/runs/{run_id}")
        self._wait(lambda d: until in d.find_element(By.TAG_NAME, "body").text)
        return self._driver.find_element(By.TAG_NAME, "body").text

    def screenshot(self, path: Path) -> None:
        self._driver.save_screenshot(str(path))

    def _find(self, selector: str) -> WebElement:
        def visible(driver: webdriver.Chrome) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, selector)
            return found[0] if found and found[0].is_displayed() else None

        element = self._wait(visible)
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        return element

    def _fill_in(self, name: str, value: str) -> None:
        field = self._find(f"input[name=element_{name}]:not([type=hidden]), #element_{name} input")
        if field.get_attribute("name"):
            return self._type(field, value)
        # One of several: what is typed chooses it.
        field.send_keys(value, Keys.ENTER)
        chosen = self._driver.find_element(By.CSS_SELECTOR, f"input[type=hidden][name=element_{name}]")
        self._wait(lambda _: chosen.get_attribute("value") == value)
        return None

    def _type(self, element: WebElement, text: str) -> None:
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(Keys.DELETE)
        element.send_keys(text, Keys.TAB)
        self._wait(lambda _: element.get_attribute("value") == text)

    def _wait(self, condition):  # type: ignore[no-untyped-def]
        return WebDriverWait(self._driver, WAIT_S, poll_frequency=0.1).until(condition)


class DashboardPage:
    """The dashboard; it refreshes by itself, so every look has a deadline."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        self.go(url)
        self._wait(lambda d: d.execute_script("return document.body.dataset.ready === 'true'"))

    def go(self, url: str) -> None:
        self._driver.get(url)

    def shows(self, alert: str, state: str) -> None:
        """Return once ``alert`` is listed in ``state``."""
        selector = f"#alert-list [data-alert='{alert}'][data-state='{state}']"
        self._wait(lambda d: d.find_elements(By.CSS_SELECTOR, selector))

    def charts(self) -> dict[str, int]:
        """How many series each chart draws, by its title; a chart that draws has lines or dots."""
        script = """return [...document.querySelectorAll("figure")].map(f => [f.querySelector("h3").textContent,
            Number(f.dataset.series), f.querySelectorAll("polyline, circle").length])"""
        found = self._driver.execute_script(script)
        assert all((series > 0) == (marks > 0) for _, series, marks in found), found
        return {title: series for title, series, _ in found}

    def firing(self) -> list[str]:
        script = "return [...document.querySelectorAll('[data-state=firing]')].map(a => a.dataset.alert)"
        return list(self._driver.execute_script(script))

    def text(self, selector: str) -> str:
        return self._driver.find_element(By.CSS_SELECTOR, selector).text

    def link(self, alert: str) -> str:
        """Where the alert's runbook is."""
        return str(self._driver.find_element(By.CSS_SELECTOR, f"[data-alert='{alert}'] a").get_attribute("href"))

    def problems(self) -> list[str]:
        """What the browser's console says that is worse than a note."""
        return [e["message"] for e in self._driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]

    def addresses(self) -> set[str]:
        """Whom the page asked for anything."""
        script = "return performance.getEntriesByType('resource').map(e => new URL(e.name).origin)"
        return set(self._driver.execute_script(script))

    def narrow(self, width: int) -> None:
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            self._driver.execute_script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def dark(self) -> None:
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)

    def screenshot(self, path: Path) -> None:
        """The whole page, not only what the window shows."""
        shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def _wait(self, condition):  # type: ignore[no-untyped-def]
        return WebDriverWait(self._driver, WAIT_S, poll_frequency=0.1).until(condition)


@contextlib.contextmanager
def airflow_page(url: str, profile: Path) -> Iterator[AirflowPage]:
    """A fresh browser, closed at the end."""
    with _chromium(profile) as driver:
        yield AirflowPage(driver, url)


@contextlib.contextmanager
def dashboard_page(url: str, profile: Path) -> Iterator[DashboardPage]:
    """A fresh browser on the dashboard, closed at the end."""
    with _chromium(profile) as driver:
        yield DashboardPage(driver, url)


@contextlib.contextmanager
def _chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = CHROMIUM or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()
