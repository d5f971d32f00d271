"""All checks of all tables: each suite one scan, then everything that columns and catalogue say by themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Protocol

from f1_training.bigquery.sql import Query
from f1_training.core.results import Check, CheckResult, Severity
from f1_training.core.settings import Settings
from f1_training.data.ingest import raw_table
from f1_training.data.judge import TableStatistics, judge, statistics
from f1_training.data.scan import scan_of
from f1_training.data.suite import ColumnType, Suite, raw_suites, strategy_labels, strategy_suites
from trainer.contract import Catalogue

log = logging.getLogger(__name__)


class Warehouse(Protocol):
    """What is asked of the warehouse."""

    def columns(self, table: str) -> dict[str, str] | None:
        """A table's columns, None where there is no table."""

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The rows of a small result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Every check, and what each table is like, by label."""

    results: tuple[CheckResult, ...] = ()
    statistics: Mapping[str, TableStatistics] = field(default_factory=dict)

    def __add__(self, other: Validation) -> Validation:
        """Both."""
        return Validation(results=self.results + other.results, statistics={**self.statistics, **other.statistics})


def tables_of_suites() -> list[str]:
    """The names of all tables that have checks."""
    return [*raw_suites(), *strategy_labels()]


@dataclass(frozen=True, kw_only=True)
class Checker:
    """Checks tables of one deployment.

    Args:
        warehouse: one scan of each table.
        settings: where the raw tables are.
        last: the last good tables, by name.
        today: no row is newer.
    """

    warehouse: Warehouse
    settings: Settings
    last: Mapping[str, TableStatistics]
    today: date

    def raw(self) -> Validation:
        """Check the raw tables that there are.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        columns, tables = self._raw_tables()
        found = Validation()
        for name, suite in raw_suites().items():
            if name in tables:
                found += self._check(suite, {name: tables[name]}, {name: columns[name]}, tables)
            elif name in self.last:
                expected = "the table, which was there before"
                lost = CheckResult(check=Check.ROWS, split=name, passed=False, value=0, expected=expected)
                found += Validation(results=(lost,))
        return found

    def candidates(self, candidates: Mapping[str, str], catalogue: Catalogue) -> Validation:
        """Check candidates for the strategy tables, full names by label, and what the models want of them.

        Raises:
            TrainingFailure: what BigQuery refused.
        """
        raw = self._raw_tables()[1]
        found = Validation()
        for suite in strategy_suites().values():
            tables = {label: candidates[label] for label in suite.labels if label in candidates}
            if not tables:
                continue
            features = _features(catalogue, suite)
            columns = {label: self.warehouse.columns(table) or {} for label, table in tables.items()}
            names = tuple(sorted({feature for listed in features.values() for feature in listed}))
            found += self._check(suite, tables, columns, raw, names)
            found += Validation(results=tuple(_hindsight(suite, features)))
        return found

    def _raw_tables(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """The columns and the full names of the raw tables that there are."""
        names = {name: raw_table(self.settings, name) for name in raw_suites()}
        asked = {name: self.warehouse.columns(table) for name, table in names.items()}
        columns = {name: found for name, found in asked.items() if found is not None}
        return columns, {name: names[name] for name in columns}

    def _check(
        self,
        suite: Suite,
        tables: Mapping[str, str],
        columns: Mapping[str, Mapping[str, str]],
        raw: Mapping[str, str],
        features: tuple[str, ...] = (),
    ) -> Validation:
        schema = [result for label in suite.labels for result in _schema(suite, label, columns[label], features)]
        present = _usable(suite, columns)
        if not {*suite.keys, suite.group} <= set(present):
            return Validation(results=tuple(schema))  # which say so
        scan = scan_of(suite, tables, present, raw, today=self.today, features=features)
        rows = self.warehouse.rows(scan.query)
        results = (*schema, *judge(rows, suite, scan, last=self.last, today=self.today))
        return Validation(results=results, statistics=statistics(rows, suite, scan))


def _usable(suite: Suite, columns: Mapping[str, Mapping[str, str]]) -> dict[str, ColumnType]:
    """The columns that each table has in its declared type."""
    return {
        name: declared.type
        for name, declared in suite.columns.items()
        if all(found.get(name) == declared.type.value for found in columns.values())
    }


def _schema(suite: Suite, label: str, found: Mapping[str, str], features: tuple[str, ...]) -> Iterator[CheckResult]:
    needed = {name: column.type.value for name, column in suite.columns.items()}
    for name, kind in needed.items():
        if name not in found:
            if not suite.columns[name].optional:
                yield _schema_result(label, name, f"{kind}; the column is not there", passed=False)
            continue
        fits = found[name] == kind
        yield _schema_result(label, name, kind if fits else f"{kind}, is {found[name]}", passed=fits)
    for name in found:
        if name not in needed:
            yield _schema_result(label, name, "no such column", passed=False, severity=Severity.WARN)
    for feature in features:
        if feature not in needed:
            there = feature in found
            yield _schema_result(label, feature, "the column: it is a feature of a model", passed=there)


def _schema_result(
    label: str, column: str, expected: str, *, passed: bool, severity: Severity = Severity.FAIL
) -> CheckResult:
    return CheckResult(
        check=Check.SCHEMA,
        split=label,
        column=column,
        passed=passed,
        value=float(passed),
        expected=expected,
        severity=severity,
    )


def _features(catalogue: Catalogue, suite: Suite) -> dict[str, tuple[str, ...]]:
    """The features of each model that reads one of the suite's tables."""
    labels = set(suite.labels)
    return {
        name: entry.features
        for name, entry in sorted(catalogue.entries.items())
        if labels & {entry.splits.train, entry.splits.validation, entry.splits.test}
    }


def _hindsight(suite: Suite, features: Mapping[str, tuple[str, ...]]) -> Iterator[CheckResult]:
    if suite.leakage is None:
        return
    for model, listed in features.items():
        taken = sorted(set(listed) & set(suite.leakage.hindsight))
        yield CheckResult(
            check=Check.LEAKAGE,
            split=suite.name,
            column=f"features of {model}",
            passed=not taken,
            value=len(taken),
            expected="0 columns that are known only when a lap is over",
            examples=tuple(taken),
        )


def stamped(found: Mapping[str, TableStatistics], run_id: str, at: str) -> dict[str, TableStatistics]:
    """The statistics, with the run that accepted the tables and when."""
    return {label: replace(one, run_id=run_id, at=at) for label, one in found.items()}
