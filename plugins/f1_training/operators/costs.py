"""What training costs: reported every day from the bill, and estimated for a run before it is started."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from f1_training import package_version
from f1_training.core import metrics
from f1_training.core.failures import airflow_errors
from f1_training.core.plan import RunIdentity, RunPlan, plan_runs
from f1_training.operators.planning import deployed_settings
from f1_training.operators.reports import ReportLink, in_browser
from trainer.contract import FailureReason, TrainingFailure, read_catalogue

if TYPE_CHECKING:
    from f1_training.core.settings import Settings
    from f1_training.costs.report import CostReport
    from f1_training.costs.spending import RunCost

log = logging.getLogger(__name__)

#: So many of the newest runs are told as metrics: each is a series.
RUNS_TOLD = 20


class CostReportLink(ReportLink):
    """A button of the task: the page of what training costs."""

    name = "Cost report"


class CostReportOperator(BaseOperator):
    """Read the bill, write the report, and tell the owners when the month comes close to its budget.

    Returns the month in numbers: what was spent, the budget, the level, the report's URI.
    """

    operator_extra_links = (CostReportLink(),)
    ui_color = "#fde8c8"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        #: Where the report is, once there is one.
        self.report_uri = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Report once; the same day again replaces the report. Skipped where no billing table is configured."""
        from airflow.sdk.exceptions import AirflowSkipException

        from f1_training.costs.ledger import Ledger
        from f1_training.costs.report import make_report
        from f1_training.costs.spending import by_run, counted

        with airflow_errors():
            settings = deployed_settings()
            if not settings.costs.billing_table:
                raise AirflowSkipException("costs.billing_table in the Variable f1_training names no billing export")
            now = datetime.now(UTC)
            rows = self._rows(settings, now)
            runs = by_run(counted(rows, settings.costs))
            plan, advice = _outlook(settings, now, runs)
            report = make_report(rows, settings.costs, now, plan, advice)
            ledger = Ledger(artifacts_uri=settings.uris.artifacts)
            before = ledger.newest()
            self.report_uri = ledger.keep(report)
        metrics.report(settings, _readings(report, runs), "costs")
        self.log.info("%s", report.told())
        if report.plan.warning():
            self.log.warning("%s", report.plan.warning())
        self.log.info("report: %s", in_browser(self.report_uri))
        if report.worse_than(before):
            _tell_owners(context, settings, report, self.report_uri)
        return {
            "month": report.month,
            "spent_usd": round(report.month_usd, 2),
            "budget_usd": report.budget_usd,
            "level": report.level.value,
            "report_uri": self.report_uri,
        }

    def _rows(self, settings: Settings, now: datetime) -> list[Any]:
        from f1_training.costs.bill import bill, spent_query
        from f1_training.costs.spending import spent_rows

        return spent_rows(bill(settings).rows(spent_query(settings, now.date())))


def _readings(report: CostReport, runs: Sequence[RunCost]) -> list[metrics.Reading]:
    """What the alert `budget` looks at, and what the newest runs have cost."""
    found = [metrics.Reading(name="training.cost.month_to_date", value=report.month_usd)]
    if report.budget_usd:
        found.append(metrics.Reading(name="training.cost.budget", value=report.budget_usd))
    for run in runs[:RUNS_TOLD]:
        labels = {"model_type": run.model_type, "job_id": run.job_id}
        found.append(metrics.Reading(name="training.job.cost", value=run.usd, labels=labels))
    return found


def check_cost(context: Any, plans: Sequence[Mapping[str, Any]]) -> None:
    """Log what each of ``plans`` costs, and what the month has spent. A dry run is small, and left alone.

    Without a hard limit nothing that goes wrong here stops a run.

    Raises:
        AirflowFailException: ``ConfigInvalid``: the run would take the month above the hard limit, and is not forced.
    """
    wanted = [plan for plan in map(RunPlan.from_xcom, plans) if not plan.dry_run]
    if not wanted:
        return
    costs = wanted[0].settings.costs
    with airflow_errors():
        try:
            _check_cost(wanted, forced=context["params"].get("force_cost") is True)
        except TrainingFailure as e:
            if costs.hard_limit_usd is not None:
                raise
            log.warning("what this run costs is not known: %s", e)


def _check_cost(plans: Sequence[RunPlan], *, forced: bool) -> None:
    from f1_training.costs.ledger import Ledger, month_to_date, require_affordable
    from f1_training.costs.versions import estimated

    settings = plans[0].settings
    run_usd = 0.0
    for plan in plans:
        found = estimated(plan)
        log.info("%s: %s", plan.model_type, found.told())
        run_usd += found.usd or 0.0
    if not settings.costs.billing_table and settings.costs.hard_limit_usd is None:
        return
    month_usd, words = month_to_date(Ledger(artifacts_uri=settings.uris.artifacts).newest(), datetime.now(UTC))
    log.info("%s", words)
    require_affordable(month_usd, run_usd, settings.costs, forced=forced)


def _outlook(settings: Settings, now: datetime, runs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The plan of a month, and advice for every model that is trained weekly."""
    from f1_training.costs.advice import advise
    from f1_training.costs.planned import month_plan, planned_model
    from f1_training.costs.prices import read_prices
    from f1_training.costs.versions import estimated, newest_cards

    identity = RunIdentity(dag_id="f1_training", run_id="next", at=now)
    plans = plan_runs({}, settings, identity, read_catalogue(), package_version())
    models = [planned_model(plan.model_type, runs, estimated(plan)) for plan in plans]
    prices, advice = read_prices(settings.costs.prices), []
    for plan in plans:
        cards = newest_cards(settings, plan.model_type)
        result = cards[-1].result if cards else None
        advice.append(advise(plan.model_type, plan.entry.resources, result, prices))
    return month_plan(models, settings.costs), advice


def _tell_owners(context: Any, settings: Settings, report: CostReport, uri: str) -> None:
    """Tell them once for each level a month reaches; the report stays if nobody can be told."""
    try:
        from airflow.sdk import Connection

        from f1_training.alerts.delivery import Delivery

        Delivery(settings=settings, connection=Connection.get).tell(alert_of(context, report, uri))
    except Exception:
        log.exception("nobody could be told that %s", report.told())


def alert_of(context: Any, report: CostReport, uri: str) -> Any:
    """The alert that the month has come to its level."""
    from f1_training.alerts.alert import Alert
    from f1_training.core.retry import Team

    ti = context["ti"]
    lines = [f"{name}: {usd:.2f} of {report.budget[name]:.2f} USD" for name, usd in report.lines.items()]
    warning = report.plan.warning()
    return Alert(
        team=Team.NOBODY,
        reason=FailureReason.RESOURCE_EXHAUSTED,
        title=f"training costs are {report.level.value}: {report.month_usd:.0f} of {report.budget_usd:.0f} USD",
        text="\n".join([report.told(), *lines, *([warning] if warning else [])]),
        key=f"costs/{report.month}/{report.level.name.lower()}",
        dag_id=ti.dag_id,
        run_id=context["dag_run"].run_id,
        task_id=ti.task_id,
        log_url=str(getattr(ti, "log_url", "") or ""),
        report_uri=in_browser(uri),
    )
