"""What is kept of each run of ``f1_data``: the verdict on its data, and what the last good tables were like.

Documents below ``<artifacts>/_data``, created once and never changed (:mod:`f1_training.core.numbered`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from f1_training.core.numbered import NumberedLog
from f1_training.core.storage import open_store
from f1_training.data.judge import TableStatistics
from trainer.contract import FailureReason, TrainingFailure
from trainer.contract.fields import Document

FOLDER = "_data"
DAG_ID = "f1_data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict(Document):
    """Whether the data of DAG run ``run_id`` passed its checks, at ``at`` (RFC 3339, UTC), and which did not."""

    KIND: ClassVar[str] = "data-verdict"

    number: int = 1
    run_id: str
    at: str
    passed: bool
    failed: tuple[str, ...] = ()
    report_uri: str = ""


class Records:
    """The records below the artifacts' URI."""

    def __init__(self, artifacts_uri: str) -> None:
        self._store = open_store(artifacts_uri)

    def last_good(self, tables: Iterable[str]) -> dict[str, TableStatistics]:
        """What those of ``tables`` were like that were published before, by name."""
        found = {table: self._good(table).newest() for table in tables}
        return {table: statistics for table, statistics in found.items() if statistics is not None}

    def accept(self, statistics: Mapping[str, TableStatistics]) -> None:
        """From now on these are the last good tables."""
        for table, found in statistics.items():

            def make(newest: TableStatistics | None, found: TableStatistics = found) -> TableStatistics | None:
                if newest is not None and replace(newest, number=found.number) == found:
                    return None
                return replace(found, number=newest.number + 1 if newest else 1)

            self._good(table).append(make)

    def judge(self, verdict: Verdict) -> None:
        """Keep the verdict on a run; the same one again changes nothing."""

        def make(newest: Verdict | None) -> Verdict | None:
            if newest is not None and replace(newest, number=1, at="") == replace(verdict, number=1, at=""):
                return None
            return replace(verdict, number=newest.number + 1 if newest else 1)

        self._verdicts().append(make)

    def require_passed(self) -> None:
        """Refuse while the newest run's data has not passed.

        Raises:
            TrainingFailure: ``DataInvalid`` naming the run, what failed, and the fix.
        """
        newest = self._verdicts().newest()
        if newest is None or newest.passed:
            return
        report = f"; report: {newest.report_uri}" if newest.report_uri else ""
        message = (
            f"the data of run {newest.run_id} of {DAG_ID} failed its checks at {newest.at} ({', '.join(newest.failed)})"
            f"{report}; mend it and run {DAG_ID} again, or open by force: the tables are those before that run"
        )
        raise TrainingFailure(FailureReason.DATA_INVALID, message)

    def _good(self, table: str) -> NumberedLog[TableStatistics]:
        return NumberedLog(store=self._store, folder=f"{FOLDER}/good/{table}", kind=TableStatistics)

    def _verdicts(self) -> NumberedLog[Verdict]:
        return NumberedLog(store=self._store, folder=f"{FOLDER}/verdicts", kind=Verdict)
