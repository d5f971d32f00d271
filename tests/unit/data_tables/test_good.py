"""What is kept of each run of f1_data: verdicts that the gate asks for, and the last good tables."""

from dataclasses import replace
from pathlib import Path

import pytest

from f1_training.data.good import Records, Verdict
from f1_training.data.judge import Histogram, TableStatistics
from trainer.contract import FailureReason, TrainingFailure

AT = "2026-11-27T06:00:00Z"
GOOD = TableStatistics(
    table="laps", rows=9, groups=2, checksum=-5, newest={"season": "2026"}, run_id="one", at=AT,
    histograms={"age": Histogram(edges=(1.0, 2.0), counts=(4, 3, 2))},
)  # fmt: skip
FAILED = Verdict(
    run_id="two", at=AT, passed=False, failed=("range(laps.lap_time_ms)",), report_uri="gs://a/checks.html"
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(f"file://{tmp_path}")


def test_nothing_was_good_before_and_nobody_is_refused(records: Records) -> None:
    assert records.last_good(["laps"]) == {}
    records.require_passed()


def test_the_last_good_tables_are_the_newest_accepted_ones(records: Records) -> None:
    records.accept({"laps": GOOD})
    records.accept({"laps": replace(GOOD, rows=10, run_id="two"), "races": replace(GOOD, table="races")})
    found = records.last_good(["laps", "races", "results"])
    assert {name: (one.rows, one.run_id, one.number) for name, one in found.items()} == {
        "laps": (10, "two", 2), "races": (9, "one", 1),
    }  # fmt: skip
    assert found["laps"].histograms == GOOD.histograms


def test_accepting_again_adds_nothing(records: Records, tmp_path: Path) -> None:
    for _ in range(2):
        records.accept({"laps": GOOD})
    assert len(list(tmp_path.rglob("good/laps/*.json"))) == 1


def test_while_the_newest_data_has_not_passed_nothing_opens(records: Records) -> None:
    records.judge(Verdict(run_id="one", at=AT, passed=True))
    records.require_passed()
    records.judge(FAILED)
    with pytest.raises(TrainingFailure) as caught:
        records.require_passed()
    assert caught.value.reason is FailureReason.DATA_INVALID
    said = str(caught.value)
    assert "the data of run two of f1_data failed its checks" in said
    assert "range(laps.lap_time_ms)" in said
    assert "gs://a/checks.html" in said
    assert "open by force" in said
    records.judge(Verdict(run_id="three", at=AT, passed=True))
    records.require_passed()


def test_the_same_verdict_again_is_one_event(records: Records, tmp_path: Path) -> None:
    for at in (AT, "2026-11-27T07:00:00Z"):
        records.judge(replace(FAILED, at=at))
    assert len(list(tmp_path.rglob("verdicts/*.json"))) == 1
