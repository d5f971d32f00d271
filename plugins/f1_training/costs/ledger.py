"""Where cost reports are kept, and what a run may still cost this month by the newest of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from f1_training.core.costs import CostSettings
from f1_training.core.storage import open_store, storage_errors
from f1_training.costs.report import FOLDER, NEWEST, CostReport, page
from f1_training.costs.spending import month_of
from trainer.contract import ContractError, FailureReason, TrainingFailure

log = logging.getLogger(__name__)

#: A report that is older says too little about today.
STALE_DAYS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The reports below ``artifacts_uri``: ``costs/report.json`` and ``.html``, and the same as ``costs/2026-11``."""

    artifacts_uri: str

    @property
    def uri(self) -> str:
        """The folder of the reports."""
        return f"{self.artifacts_uri.rstrip('/')}/{FOLDER}"

    def newest(self) -> CostReport | None:
        """The newest report; None where there is none that this package can read.

        Raises:
            TrainingFailure: what the storage refused.
        """
        with storage_errors(self.uri):
            try:
                return CostReport.from_json(open_store(self.uri).read(f"{NEWEST}.json"))
            except FileNotFoundError:
                return None
            except ContractError as e:
                log.warning("%s/%s.json cannot be read, and is as good as none: %s", self.uri, NEWEST, e)
                return None

    def keep(self, report: CostReport) -> str:
        """Write ``report`` as the newest, and as its month's. The URI of the newest page.

        Raises:
            TrainingFailure: what the storage refused.
        """
        html, document = page(report).encode(), report.to_json().encode()
        store = open_store(self.uri)
        with storage_errors(self.uri):
            for stem in (report.month, NEWEST):
                store.put(f"{stem}.html", html, "text/html; charset=utf-8")
                store.put(f"{stem}.json", document, "application/json")
        return store.uri_of(f"{NEWEST}.html")


def month_to_date(report: CostReport | None, now: datetime) -> tuple[float, str]:
    """What this month has spent by ``report``, and how much that is worth, in words."""
    if report is None:
        return 0.0, "no cost report yet: what the month has spent is not known"
    if report.month != month_of(now.date()):
        return (
            0.0,
            f"the newest cost report is of {report.month}: the month has begun, or f1_training_costs failed",
        )
    age = now - datetime.fromisoformat(report.at)
    stale = f", {age.days} days old: does f1_training_costs run?" if age.days >= STALE_DAYS else ""
    return report.month_usd, f"{report.told()}{stale}"


def require_affordable(month_usd: float, run_usd: float, settings: CostSettings, *, forced: bool) -> None:
    """Refuse a run that would take the month above the hard limit, unless it is forced.

    Raises:
        TrainingFailure: ``ConfigInvalid`` naming the sums, the setting and the Param.
    """
    limit = settings.hard_limit_usd
    if limit is None or month_usd + run_usd <= limit or forced:
        return
    message = (
        f"costs.hard_limit_usd is {limit:.2f} USD a month: {month_usd:.2f} are spent, and this run takes about "
        f"{run_usd:.2f}; run it with the Param force_cost, raise the limit in the Variable f1_training, or wait for "
        "the next month"
    )
    raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
