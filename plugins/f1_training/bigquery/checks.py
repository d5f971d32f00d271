"""The data checks on a snapshot: one scan, judged in Python, every check reported whether it passed or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from f1_training.bigquery import sql
from f1_training.bigquery.sql import Query
from f1_training.core.results import Check, CheckResult
from trainer.contract import ModelEntry

PRESENT = "present_"


def query(entry: ModelEntry, table: str) -> Query:
    """The scan that answers all checks."""
    identifiers = {"present": sql.counts_of(entry.features, PRESENT), "snapshot_table": sql.table(table)}
    return Query(sql=sql.render(sql.load("checks/snapshot.sql"), identifiers))


def judge(rows: Iterable[Mapping[str, Any]], entry: ModelEntry, splits: Mapping[str, int]) -> list[CheckResult]:
    """Every check of every split.

    Args:
        rows: what :func:`query` returned, one row a split that has rows at all.
        entry: the model; its ``checks`` are the thresholds.
        splits: the splits that must be there, with the rows each needs at least.
    """
    found = {row["split"]: row for row in rows}
    results: list[CheckResult] = []
    for split, least in splits.items():
        row = found.get(split)
        total = int(row["row_count"]) if row else 0
        results.append(
            CheckResult(
                check=Check.ROWS, split=split, passed=total >= least, value=total, expected=f"{least} rows or more"
            )
        )
        if row and total:
            results += _of_split(row, total, entry, split)
    return results


def _of_split(row: Mapping[str, Any], total: int, entry: ModelEntry, split: str) -> list[CheckResult]:
    no_target = total - int(row["target_count"]) + int(row["target_not_finite"])
    varied = float(row["target_max"] != row["target_min"])
    no_group = total - int(row["rows_with_group"])
    doubled = total - int(row["key_count"])
    zero = "0 rows"
    return [
        _none(Check.TARGET, split, entry.target, no_target, "0 rows without a finite value"),
        CheckResult(
            check=Check.TARGET,
            split=split,
            column=entry.target,
            passed=varied > 0 or total == 1,
            value=varied,
            expected="1: values that differ",
        ),
        _none(Check.GROUPS, split, entry.group, no_group, f"{zero} without a group"),
        _none(Check.KEYS, split, "+".join(entry.keys), doubled, f"{zero} with the keys of another"),
        *(_completeness(row, total, entry, split, feature) for feature in entry.features),
    ]


def _none(check: Check, split: str, column: str, count: int, expected: str) -> CheckResult:
    return CheckResult(check=check, split=split, column=column, passed=count == 0, value=count, expected=expected)


def _completeness(row: Mapping[str, Any], total: int, entry: ModelEntry, split: str, feature: str) -> CheckResult:
    share = int(row[PRESENT + feature]) / total
    sparse = feature in entry.checks.sparse
    least = 0.0 if sparse else entry.checks.min_completeness
    return CheckResult(
        check=Check.COMPLETENESS,
        split=split,
        column=feature,
        passed=share > 0 if sparse else share >= least,
        value=share,
        expected="more than 0 (known to be sparse)" if sparse else f"{least:g} or more",
    )
