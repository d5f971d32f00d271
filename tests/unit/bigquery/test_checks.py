"""The checks judge what one scan found, and every failing one is named."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from f1_training.bigquery import checks
from f1_training.bigquery.checks import judge
from f1_training.core.results import Check, CheckResult, report, require_passed
from tests.fakes.run_plan import make_plan
from trainer.contract import ContractError, FailureReason, ModelEntry, TrainingFailure

FULL = make_plan().entry
ENTRY = replace(FULL, features=("tire_age_laps", "stint"), checks=replace(FULL.checks, sparse=("stint",)))
SPLITS = {"train": 1000, "validation": 1}


def row(split: str, rows: int = 2000, **changes: Any) -> dict[str, Any]:
    found = {
        "split": split,
        "row_count": rows,
        "target_count": rows,
        "target_not_finite": 0,
        "target_min": -5.0,
        "target_max": 5.0,
        "group_count": 20,
        "rows_with_group": rows,
        "key_count": rows,
        "present_tire_age_laps": rows,
        "present_stint": rows,
    }
    return {**found, **changes}


def failing(train: dict[str, Any] | None, entry: ModelEntry = ENTRY) -> list[str]:
    rows = [row("validation"), *([train] if train else [])]
    return [r.name for r in judge(rows, entry, SPLITS) if not r.passed]


@pytest.mark.parametrize(
    ("train", "failed"),
    [
        (row("train"), []),
        (None, ["rows(train)"]),
        (row("train", 0, target_min=None, target_max=None), ["rows(train)"]),
        (row("train", 999), ["rows(train)"]),
        (row("train", 1000), []),
        (row("train", target_count=1999), ["target(train.lap_delta_ms)"]),
        (row("train", target_not_finite=1), ["target(train.lap_delta_ms)"]),
        (row("train", target_min=5.0), ["target(train.lap_delta_ms)"]),
        (row("train", rows_with_group=1990), ["groups(train.race_id)"]),
        (row("train", key_count=1999), ["keys(train.race_id+driver_id+lap_number)"]),
        (row("train", present_tire_age_laps=1900), []),
        (row("train", present_tire_age_laps=1899), ["completeness(train.tire_age_laps)"]),
        (row("train", present_stint=1), []),
        (row("train", present_stint=0), ["completeness(train.stint)"]),
        (
            row("train", 999, present_tire_age_laps=0, target_count=0),
            ["rows(train)", "target(train.lap_delta_ms)", "completeness(train.tire_age_laps)"],
        ),
    ],
)
def test_what_fails(train: dict[str, Any] | None, failed: list[str]) -> None:
    assert failing(train) == failed


def test_every_split_is_judged() -> None:
    results = judge([row("train"), row("validation", present_tire_age_laps=0)], ENTRY, SPLITS)
    assert [r.name for r in results if not r.passed] == ["completeness(validation.tire_age_laps)"]
    assert len(results) == 2 * (5 + len(ENTRY.features))


def test_all_failing_checks_are_in_the_message_and_every_check_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    results = judge([row("train", 10, present_tire_age_laps=0), row("validation")], ENTRY, SPLITS)
    caplog.set_level(logging.INFO)
    with pytest.raises(TrainingFailure) as caught:
        require_passed(results, "p.d.t")
    assert caught.value.reason is FailureReason.DATA_INVALID
    message = str(caught.value)
    assert "p.d.t: 2 of 14 checks failed" in message
    assert "rows(train) is 10, expected 1000 rows or more" in message
    assert "completeness(train.tire_age_laps) is 0, expected 0.95 or more" in message
    assert len(caplog.records) == len(results)
    assert sum(r.levelno == logging.ERROR for r in caplog.records) == 2


def test_what_passes_is_no_failure() -> None:
    require_passed(judge([row("train"), row("validation")], ENTRY, SPLITS), "p.d.t")


def test_the_report_has_every_check() -> None:
    told = report(judge([row("validation")], ENTRY, SPLITS), "p.d.t")
    assert (told["passed"], told["failed"]) == (False, ["rows(train)"])
    assert told["checks"][0] == {
        "name": "rows(train)",
        "state": "FAILED",
        "check": "rows",
        "split": "train",
        "column": "",
        "passed": False,
        "value": 0,
        "expected": "1000 rows or more",
        "severity": "fail",
        "unit": "",
        "examples": [],
        "skipped": "",
    }


def test_the_query_scans_the_snapshot_once() -> None:
    text = checks.query(ENTRY, "p-x.d.t").sql
    assert text.count("`p-x.d.t`") == 1
    assert "COUNT(`stint`) AS `present_stint`" in text


def test_a_sparse_column_must_be_a_feature() -> None:
    with pytest.raises(ContractError, match=r"checks\.sparse: names nope"):
        replace(ENTRY, checks=replace(ENTRY.checks, sparse=("nope",)))


def test_a_line_says_what_was_expected() -> None:
    result = CheckResult(check=Check.ROWS, split="train", passed=False, value=3, expected="5 rows or more")
    assert result.line() == "FAILED  rows(train): 3, expected 5 rows or more"
