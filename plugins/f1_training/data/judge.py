"""From what one scan found to results: pure, every check a result whether it passed or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar

from f1_training.core.results import Check, CheckResult, Severity
from f1_training.data.scan import LABEL, RowCheck, Scan
from f1_training.data.suite import Suite
from trainer.contract.fields import Document

#: A bin that was empty, or is, counts as this share of the rows: the index would be infinite otherwise.
SMALLEST_SHARE = 1e-4
#: How the query calls the newest date or year of a column.
NEWEST = "newest_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How many values lie in each bin: up to the first of ``edges``, up to the next, ..., above the last."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableStatistics(Document):
    """What one table was like, to compare the next one with. ``checksum`` is of all values of all rows, in any order.

    ``newest`` are its newest date or year as text, by column; ``run_id`` is the DAG run that accepted it, at ``at``
    (RFC 3339, UTC).
    """

    KIND: ClassVar[str] = "table-statistics"

    number: int = 1
    table: str
    rows: int
    groups: int
    newest: Mapping[str, str] = field(default_factory=dict)
    checksum: int = 0
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    run_id: str = ""
    at: str = ""


def statistics(rows: Iterable[Mapping[str, Any]], suite: Suite, scan: Scan) -> dict[str, TableStatistics]:
    """What each table of the suite is like; an empty one has no rows and nothing else."""
    found = {str(row[LABEL]): row for row in rows}
    return {label: _statistics(label, found.get(label), scan) for label in suite.labels}


def judge(
    rows: Iterable[Mapping[str, Any]],
    suite: Suite,
    scan: Scan,
    *,
    last: Mapping[str, TableStatistics],
    today: date,
) -> list[CheckResult]:
    """Every check of every table of ``suite``.

    Args:
        rows: what the scan's query returned, one row a table that has rows at all.
        suite: what is checked.
        scan: what the query looks at.
        last: the last good tables, by label; none for a table that is new.
        today: to tell the age of the newest row.
    """
    found = {str(row[LABEL]): row for row in rows}
    results: list[CheckResult] = []
    for label in suite.labels:
        row = found.get(label)
        now = _statistics(label, row, scan)
        results += _amounts(now, suite, last.get(label))
        if row is None:
            continue
        results += [_row_check(label, row, number, check, now.rows) for number, check in enumerate(scan.rows)]
        results += _freshness(now, suite, last.get(label), today)
        results += _drift(now, suite, scan, last.get(label))
        results += _correlations(label, row, suite, scan)
        results += [
            CheckResult(check=check, split=label, column=column, passed=True, value=0, expected="", skipped=why)
            for check, column, why in scan.skipped
        ]
    return results


def stability_index(before: Sequence[int], now: Sequence[int]) -> float:
    """The population stability index between two histograms over the same bins; 0 for equal shares.

    The sum over bins of (share now - share before) * ln(share now / share before).
    """
    totals = sum(before), sum(now)
    if not all(totals):
        return 0.0 if totals[0] == totals[1] else math.inf
    index = 0.0
    for b, n in zip(before, now, strict=True):
        share_b, share_n = max(b / totals[0], SMALLEST_SHARE), max(n / totals[1], SMALLEST_SHARE)
        index += (share_n - share_b) * math.log(share_n / share_b)
    return index


def _statistics(label: str, row: Mapping[str, Any] | None, scan: Scan) -> TableStatistics:
    if row is None:
        return TableStatistics(table=label, rows=0, groups=0)
    histograms = {}
    for number, (column, edges) in enumerate(scan.bins.items()):
        below = [int(row[f"bin_{number}_{place}"]) for place in range(len(edges))] + [int(row[f"present_{number}"])]
        counts = tuple(b - a for a, b in zip([0, *below[:-1]], below, strict=True))
        histograms[column] = Histogram(edges=edges, counts=counts)
    newest = {name.removeprefix(NEWEST): str(value) for name, value in row.items() if name.startswith(NEWEST) and value}
    return TableStatistics(
        table=label,
        rows=int(row["row_count"]),
        groups=int(row["group_count"]),
        newest=newest,
        checksum=int(row["checksum"] or 0),
        histograms=histograms,
    )


def _amounts(now: TableStatistics, suite: Suite, last: TableStatistics | None) -> Iterator[CheckResult]:
    least, why = suite.rows.min, ""
    if last is not None and last.rows * suite.rows.least_of_last > least:
        least = math.ceil(last.rows * suite.rows.least_of_last)
        why = f" ({suite.rows.least_of_last:g} of the last good {last.rows})"
    passed = now.rows >= least
    expected = f"{least} rows or more{why}"
    yield CheckResult(check=Check.ROWS, split=now.table, passed=passed, value=now.rows, expected=expected)
    groups = math.ceil(last.groups * suite.rows.least_groups_of_last) if last is not None else 1
    yield CheckResult(
        check=Check.GROUPS,
        split=now.table,
        column=suite.group,
        passed=now.groups >= groups,
        value=now.groups,
        expected=f"{groups} or more" + (f" (last good: {last.groups})" if last is not None else ""),
    )


def _row_check(label: str, row: Mapping[str, Any], number: int, check: RowCheck, total: int) -> CheckResult:
    failing = int(row[f"failing_{number}"])
    among = int(row[f"among_{number}"]) if check.among else total
    passed = failing <= among * check.most + 1e-9
    is_share = check.check is Check.COMPLETENESS
    return CheckResult(
        check=check.check,
        split=label,
        column=check.column,
        passed=passed,
        value=1 - failing / among if is_share else failing,
        expected=check.expected if is_share else _rows_expected(check, among),
        severity=check.severity,
        unit="" if is_share else "row" if failing == 1 else "rows",
        examples=() if passed else tuple(row[f"examples_{number}"] or ()),
    )


def _rows_expected(check: RowCheck, among: int) -> str:
    most = math.floor(among * check.most + 1e-9)
    return f"{f'all rows but {most:,}' if most else 'every row'}: {check.expected}"


def _freshness(now: TableStatistics, suite: Suite, last: TableStatistics | None, today: date) -> Iterator[CheckResult]:
    for fresh in suite.freshness:
        newest = now.newest.get(fresh.column)
        before = last.newest.get(fresh.column) if last is not None else None
        if newest is None:
            continue
        if before is not None:
            yield CheckResult(
                check=Check.FRESHNESS,
                split=now.table,
                column=fresh.column,
                passed=newest >= before,
                value=_digits(newest),
                expected=f"{before} or later, as in the last good table",
            )
        age = _age_days(newest, today)
        if fresh.max_age_days is not None and age is not None:
            yield CheckResult(
                check=Check.FRESHNESS,
                split=now.table,
                column=f"{fresh.column}+age",
                passed=age <= fresh.max_age_days,
                value=age,
                expected=f"{fresh.max_age_days} days or fewer",
                severity=Severity.WARN,
            )


def _digits(newest: str) -> float:
    return float("".join(c for c in newest if c.isdigit()) or 0)


def _age_days(newest: str, today: date) -> int | None:
    """None for what is no date: the checks of the column's values say that."""
    try:
        return (today - (date.fromisoformat(newest) if "-" in newest else date(int(newest), 12, 31))).days
    except ValueError:
        return None


def _drift(now: TableStatistics, suite: Suite, scan: Scan, last: TableStatistics | None) -> Iterator[CheckResult]:
    for column, edges in scan.bins.items():
        before = last.histograms.get(column) if last is not None else None
        warn, fail = suite.drift.warn, suite.drift.fail
        if before is None or before.edges != edges:
            why = "nothing to compare with: " + ("other bins before" if before else "no last good table")
            yield CheckResult(
                check=Check.DRIFT, split=now.table, column=column, passed=True, value=0, expected="", skipped=why
            )
            continue
        index = stability_index(before.counts, now.histograms[column].counts)
        yield CheckResult(
            check=Check.DRIFT,
            split=now.table,
            column=column,
            passed=index < warn,
            value=min(index, 1e9),
            expected=f"an index below {warn:g} (from {fail:g} on the data is refused)",
            severity=Severity.FAIL if index >= fail else Severity.WARN,
        )


def _correlations(label: str, row: Mapping[str, Any], suite: Suite, scan: Scan) -> Iterator[CheckResult]:
    for number, feature in enumerate(scan.correlated):
        assert suite.leakage is not None
        found = row[f"correlation_{number}"]
        value = 0.0 if found is None or math.isnan(found) else abs(float(found))
        yield CheckResult(
            check=Check.LEAKAGE,
            split=label,
            column=feature,
            passed=value <= suite.leakage.most,
            value=value,
            expected=f"a correlation with {suite.leakage.target} of at most {suite.leakage.most:g}",
        )
