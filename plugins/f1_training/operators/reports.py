"""What becomes of data checks: a report that is kept and linked from the task, and closed gates."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from f1_training.gate.gate import Change, Gate
from f1_training.operators.gate import mirror, told

if TYPE_CHECKING:
    from f1_training.core.results import CheckResult
    from f1_training.data.judge import TableStatistics

log = logging.getLogger(__name__)

#: Where a browser finds an object of Cloud Storage, for those who may read it.
CONSOLE = "https://storage.cloud.google.com/"


class ReportLink(BaseOperatorLink):
    """A button of the task: the page of its checks."""

    name = "Data checks"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Where the report is, empty while there is none."""
        return in_browser(getattr(operator, "report_uri", ""))


class ModelReportLink(ReportLink):
    """A button of the task: the report of the version."""

    name = "Model report"


def in_browser(uri: str) -> str:
    """The address of an object for a browser."""
    return CONSOLE + uri.removeprefix("gs://") if uri.startswith("gs://") else uri


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A report that is kept: its plain values, and the page's URI."""

    report: dict[str, Any]
    uri: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """What the tables are like that were checked, and what the last good ones were like."""

    now: Mapping[str, TableStatistics] = field(default_factory=dict)
    last: Mapping[str, TableStatistics] = field(default_factory=dict)


def keep_report(
    folder_uri: str,
    title: str,
    facts: Mapping[str, str],
    results: Sequence[CheckResult],
    about: str,
    *,
    tables: Tables | None = None,
    stem: str = "checks",
) -> Kept:
    """Write ``<stem>.json`` and ``<stem>.html`` below ``folder_uri``.

    Raises:
        TrainingFailure: what the storage refused.
    """
    from f1_training.core.results import report
    from f1_training.core.storage import open_store, storage_errors
    from f1_training.data.report import as_json, page

    tables = tables or Tables()
    body = report(results, about)
    store = open_store(folder_uri)
    with storage_errors(folder_uri):
        document = json.dumps(as_json(body, tables.now), indent=2)
        store.put(f"{stem}.json", document.encode(), "application/json")
        html = page(title, facts, results, tables.now, tables.last)
        store.put(f"{stem}.html", html.encode(), "text/html; charset=utf-8")
    uri = store.uri_of(f"{stem}.html")
    log.info("report: %s", in_browser(uri))
    return Kept(report=body, uri=uri)


def close_gates(
    context: Any,
    models_uri: str,
    models: Iterable[str],
    results: Sequence[CheckResult],
    run_id: str,
    report_uri: str,
) -> None:
    """Close the gates of ``models`` if a check has failed; ``context`` is the task's.

    Raises:
        TrainingFailure: what the storage refused.
    """
    from f1_training.core.results import worst

    failed = sum(result.failed for result in results)
    if not failed:
        return
    change = Change(
        who=f"the validation of run {run_id}",
        reason=f"{failed} of {len(results)} checks failed: {worst(results)}",
        run_id=run_id,
        report_uri=report_uri,
    )
    gate = Gate(models_uri)
    for model in models:
        event = gate.close(model, change)
        log.error("gate closed: %s", told(event))
        mirror(context, event)
