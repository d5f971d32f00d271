"""The tasks of DAG ``f1_data``: ingest, process, check, publish."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from f1_training.core.failures import airflow_errors
from f1_training.core.plan import job_id
from f1_training.operators.gate import GATES
from f1_training.operators.planning import deployed_settings
from f1_training.operators.reports import ReportLink, Tables, close_gates, keep_report
from trainer.contract import FailureReason, TrainingFailure, read_catalogue
from trainer.contract.fields import decode, encode

if TYPE_CHECKING:
    from f1_training.bigquery.client import Warehouse
    from f1_training.core.results import CheckResult
    from f1_training.core.settings import Settings

#: The tables that models are trained and scored on, as Airflow knows them. DAG ``f1_training`` waits for all of them.
ASSETS = tuple(Asset(f"f1_strategy.{name}") for name in ("train", "validation", "test"))
LABELS = {"f1-training-part": "data"}


def data_warehouse(settings: Settings) -> Warehouse:
    """BigQuery, with this pipeline's label and reservation on every job."""
    from f1_training.bigquery.client import Warehouse

    return Warehouse.connect(settings, labels=LABELS, reservation=settings.data.reservation)


class DataOperator(BaseOperator):
    """What the tasks of a run have in common. ``report_uri`` is where its report is, once there is one."""

    ui_color = "#d9efe3"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(inlets=[GATES], **kwargs)
        self.report_uri = ""

    def warehouse(self, settings: Settings) -> Warehouse:
        """BigQuery, with this pipeline's label and reservation on every job."""
        return data_warehouse(settings)

    def refuse(
        self,
        settings: Settings,
        results: Sequence[CheckResult],
        context: Any,
        *,
        stem: str,
        facts: Mapping[str, str],
        tables: Tables | None = None,
    ) -> dict[str, Any]:
        """Keep the report and the verdict; close the gates and fail if a check has failed."""
        from f1_training.core.results import require_passed
        from f1_training.data.good import Records, Verdict
        from f1_training.data.suite import derived_from
        from f1_training.gate.gate import readers

        run_id = context["dag_run"].run_id
        facts = {"run": run_id, **facts}
        title = "Checks of what was ingested" if stem == "ingest" else "Data checks"
        kept = keep_report(_folder(settings, run_id), title, facts, results, run_id, tables=tables, stem=stem)
        self.report_uri = kept.uri
        failed = tuple(kept.report["failed"])
        if failed or stem == "checks":
            verdict = Verdict(run_id=run_id, at=_now(), passed=not failed, failed=failed, report_uri=kept.uri)
            Records(settings.uris.artifacts).judge(verdict)
        concerned = derived_from(result.split for result in results if result.failed)
        models = readers(read_catalogue(), concerned)
        close_gates(context, settings.uris.models, models, results, run_id, kept.uri)
        require_passed(results, f"run {run_id}")
        return kept.report


class IngestOperator(DataOperator):
    """Merge what a source holds into the raw tables, each race replaced as a whole.

    The Params ``source`` (empty: the setting ``data.landing``) and ``replace`` say what, and whether anything else
    stays. Files that do not fit the tables are refused before anything is loaded, and close the gates.

    Returns what was done: a line a table, and files that belong to none.
    """

    operator_extra_links = (ReportLink(),)

    def execute(self, context: Any) -> dict[str, Any]:
        """Check and convert everything, then load it."""
        from f1_training.data import car_laps, ingest, sources
        from f1_training.data.suite import raw_suites

        params = context["params"]
        with airflow_errors(), tempfile.TemporaryDirectory(prefix="f1-ingest-") as scratch:
            settings = deployed_settings()
            source = params["source"] or settings.data.landing
            if not source:
                message = "source is empty, and so is data.landing in the Variable f1_training; examples: "
                raise TrainingFailure(FailureReason.CONFIG_INVALID, message + sources.EXAMPLE)
            python = settings.data.fastf1_python
            found = sources.open_source(source, today=_today(), scratch=Path(scratch), python=python)
            batches, results = ingest.prepare(found)
            self.refuse(settings, results, context, stem="ingest", facts={"source": source})
            warehouse = self.warehouse(settings)
            if settings.data.simulate_car_laps:
                kept = frozenset() if params["replace"] else car_laps.measured_races(warehouse, settings)
                batches = car_laps.with_car_laps(batches, kept)
            lines = []
            for line in ingest.merge_all(warehouse, settings, batches, replace_all=params["replace"]):
                self.log.info("%s", line)
                lines.append(line)
            if params["replace"]:
                for name in set(raw_suites()) - {batch.suite.name for batch in batches}:
                    warehouse.drop(ingest.raw_table(settings, name))
            for name in found.ignored:
                self.log.warning("not ingested, as it is named after no table: %s", name)
        return {"merged": lines, "ignored": list(found.ignored)}


class ProcessOperator(DataOperator):
    """Derive candidates for the training, validation and test tables from the raw ones.

    Returns their full names by table.
    """

    def execute(self, context: Any) -> dict[str, str]:
        """One query a table."""
        from f1_training.data.process import process

        with airflow_errors():
            settings = deployed_settings()
            return process(self.warehouse(settings), settings, _slug(context["dag_run"].run_id))


class TableChecksOperator(DataOperator):
    """Run every check of every table, raw ones and candidates; one scan a table.

    A failed check closes the gates of the models that read the tables, and fails the task without a retry.

    Args:
        candidates: what :class:`ProcessOperator` returned.

    Returns what each table is like, for the next run to compare with.
    """

    template_fields: Sequence[str] = ("candidates",)
    operator_extra_links = (ReportLink(),)

    def __init__(self, *, candidates: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidates = candidates

    def execute(self, context: Any) -> dict[str, Any]:
        """Check, report, and refuse data that does not pass."""
        from f1_training.data.good import Records
        from f1_training.data.validation import Checker, tables_of_suites

        with airflow_errors():
            settings = deployed_settings()
            anew = bool(context["params"]["replace"])
            last = {} if anew else Records(settings.uris.artifacts).last_good(tables_of_suites())
            checker = Checker(warehouse=self.warehouse(settings), settings=settings, last=last, today=_today())
            found = checker.raw() + checker.candidates(self.candidates, read_catalogue())
            facts = {"compared with": "nothing: it starts anew" if anew else "the last good tables"}
            tables = Tables(now=found.statistics, last=last)
            self.refuse(settings, found.results, context, stem="checks", facts=facts, tables=tables)
        return {name: encode(one) for name, one in found.statistics.items()}


class PublishOperator(DataOperator):
    """Put the candidates in the place of the tables, each at one stroke, and remember what they are like.

    Args:
        candidates: what :class:`ProcessOperator` returned.
        statistics: what :class:`TableChecksOperator` returned.

    Returns the names of the tables that have changed.
    """

    template_fields: Sequence[str] = ("candidates", "statistics")

    def __init__(self, *, candidates: Any, statistics: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.candidates = candidates
        self.statistics = statistics

    def execute(self, context: Any) -> list[str]:
        """Swap, then record."""
        from f1_training.data.good import Records
        from f1_training.data.judge import TableStatistics
        from f1_training.data.suite import strategy_labels
        from f1_training.data.validation import stamped

        with airflow_errors():
            settings = deployed_settings()
            warehouse, records = self.warehouse(settings), Records(settings.uris.artifacts)
            found = {name: decode(TableStatistics, one, name) for name, one in self.statistics.items()}
            last = records.last_good(self.candidates)
            changed = [n for n in self.candidates if n not in last or last[n].checksum != found[n].checksum]
            warehouse.ensure_dataset(settings.datasets.strategy, expires=False)
            if context["params"]["replace"]:
                for name in set(strategy_labels()) - set(self.candidates):
                    warehouse.drop(f"{settings.project}.{settings.datasets.strategy}.{name}")
            for name, candidate in self.candidates.items():
                warehouse.copy(candidate, f"{settings.project}.{settings.datasets.strategy}.{name}")
                self.log.info("%s: %s rows, %s", name, f"{found[name].rows:,}", _words(name in changed))
            records.accept(stamped(found, context["dag_run"].run_id, _now()))
        return changed


class AnnounceOperator(BaseOperator):
    """Tell Airflow that the tables are new, by their Assets, so that models are retrained; skipped when nothing is.

    Args:
        changed: what :class:`PublishOperator` returned.
        statistics: what :class:`TableChecksOperator` returned; goes along with the Assets' events.
    """

    template_fields: Sequence[str] = ("changed", "statistics")

    def __init__(self, *, changed: Any, statistics: Any, **kwargs: Any) -> None:
        super().__init__(outlets=list(ASSETS), **kwargs)
        self.changed = changed
        self.statistics = statistics

    def execute(self, context: Any) -> None:
        """Say it, or skip."""
        if not context["params"]["announce"]:
            raise AirflowSkipException("the Param announce is off: no training is started")
        if not self.changed:
            raise AirflowSkipException("the tables are what they were: there is nothing to retrain on")
        for asset in ASSETS:
            one = self.statistics[asset.name.rpartition(".")[2]]
            extra = {name: one[name] for name in ("rows", "groups", "newest", "checksum")}
            context["outlet_events"][asset].extra = {**extra, "run_id": context["dag_run"].run_id}


def _words(changed: bool) -> str:
    return "changed" if changed else "as before"


def _slug(run_id: str) -> str:
    return job_id("f1_data", run_id, "data").replace("-", "_")


def _folder(settings: Settings, run_id: str) -> str:
    return f"{settings.uris.artifacts.rstrip('/')}/{job_id('f1_data', run_id, 'data')}"


def _today() -> Any:
    return datetime.now(UTC).date()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
