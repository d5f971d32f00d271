"""The dashboard's definition, and the page that Prometheus serves of it (``--web.user-assets``).

``python -m composer.monitoring.dashboard FOLDER`` writes the page for any Prometheus that scrapes the pods.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

from trainer.contract.fields import ContractError, require

DASHBOARD = Path(__file__).with_name("dashboard.yaml")
PAGE = Path(__file__).with_name("page")
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
#: UCUM, as many as the page can write.
UNITS = ("1", "1/s", "s", "%", "By", "By/s", "{USD}")
CHART_FIELDS, SECTION_FIELDS = {"title", "unit", "query", "legend"}, {"title", "charts"}
DURATION = re.compile(r"\d+[smh]")
WINDOW = "${rate_window}"
#: Rates on the page where a scrape is every few seconds: short, so that a run of a minute shows.
SHORT_WINDOW_S = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One chart of lines. ``legend`` has labels' names in braces; ``empty`` is said where there is nothing to draw."""

    title: str
    unit: str
    query: str
    legend: str
    empty: str = ""

    def __post_init__(self) -> None:
        require(self.unit in UNITS, f"{self.title}.unit", f"is {self.unit!r}; one of {', '.join(UNITS)}")
        rest = self.query.replace(WINDOW, "")
        require("$" not in rest, f"{self.title}.query", f"has a placeholder other than {WINDOW}")

    @property
    def legend_labels(self) -> tuple[str, ...]:
        """The labels that the legend names."""
        return tuple(re.findall(r"{(\w+)}", self.legend))


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Charts that belong together; ``google_cloud``: of what only Google Cloud measures."""

    title: str
    charts: tuple[Chart, ...]
    google_cloud: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Dashboard:
    """All sections; ``rate_window`` is PromQL's duration."""

    rate_window: str
    sections: tuple[Section, ...] = field(default=())

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Of all sections."""
        return tuple(chart for section in self.sections for chart in section.charts)


def read_dashboard(text: str) -> Dashboard:
    """The dashboard in ``text`` (``dashboard.yaml``).

    Raises:
        ContractError: naming the chart and what is wrong with it.
    """
    body = yaml.safe_load(text)
    require(bool(DURATION.fullmatch(str(body.get("rate_window")))), "rate_window", "such as 5m")
    return Dashboard(rate_window=body["rate_window"], sections=tuple(_section(entry) for entry in body["sections"]))


def _section(entry: Mapping[str, Any]) -> Section:
    named = str(entry.get("title"))
    _fields(named, set(entry), SECTION_FIELDS, {"google_cloud"})
    charts = []
    for chart in entry["charts"]:
        _fields(f"{named}: {chart.get('title')}", set(chart), CHART_FIELDS, {"empty"})
        charts.append(Chart(**chart))
    return Section(title=named, charts=tuple(charts), google_cloud=bool(entry.get("google_cloud", False)))


def _fields(named: str, found: set[str], needed: set[str], more: set[str]) -> None:
    fits = needed <= found <= needed | more
    require(fits, named, f"has fields {sorted(found)}; expected {sorted(needed)}, and may have {sorted(more)}")


def page_data(dashboard: Dashboard, links: Mapping[str, str]) -> Mapping[str, Any]:
    """What the page draws, as JSON: all sections but Google Cloud's. ``links`` are shown at its top."""
    sections = [
        {"title": s.title, "charts": [asdict(chart) for chart in s.charts]}
        for s in dashboard.sections
        if not s.google_cloud
    ]
    return {"rate_window_s": SHORT_WINDOW_S, "links": dict(links), "sections": sections}


def write_page(folder: Path, links: Mapping[str, str]) -> None:
    """Write the page into ``folder``, which is made or replaced: HTML, scripts, the definition, the runbook."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PAGE, folder)
    dashboard = read_dashboard(DASHBOARD.read_text(encoding="utf-8"))
    (folder / "dashboard.json").write_text(json.dumps(page_data(dashboard, links), indent=1), encoding="utf-8")
    (folder / "runbook.html").write_text(runbook_page(RUNBOOK.read_text(encoding="utf-8")), encoding="utf-8")


def runbook_page(markdown: str) -> str:
    """The runbook as HTML; a heading's anchor is the one that alerts name."""
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(markdown)
    for opening, inline in itertools.pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    body = parser.renderer.render(tokens, parser.options, {})
    frame = (PAGE / "runbook.html").read_text(encoding="utf-8")
    return frame.replace("<!-- runbook -->", body)


def anchor(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main(argv: Sequence[str]) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m composer.monitoring.dashboard", description=__doc__)
    parser.add_argument("folder", type=Path, help="made or replaced; give it to Prometheus as --web.user-assets")
    arguments = parser.parse_args(argv)
    try:
        write_page(arguments.folder, {})
    except ContractError as e:
        print(f"error: {DASHBOARD}: {e}", file=sys.stderr)
        return 1
    print(f"prometheus --web.user-assets={arguments.folder} serves it as /user/")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
