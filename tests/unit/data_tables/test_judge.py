"""From counts to verdicts."""

import math
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f1_training.core.results import Check, CheckResult, Severity
from f1_training.data.judge import Histogram, TableStatistics, judge, stability_index, statistics
from f1_training.data.scan import scan_of
from f1_training.data.suite import Column, ColumnType, Drift, Freshness, Leakage, Place, Rows, Step, Suite

TODAY = date(2026, 11, 27)
SUITE = Suite(
    name="t",
    place=Place.RAW,
    description="x",
    keys=("race_id",),
    group="race_id",
    columns={
        "race_id": Column(type=ColumnType.STRING),
        "day": Column(type=ColumnType.STRING),
        "age": Column(type=ColumnType.INT64, completeness=0.9, min=0, max=9, drift=(1, 2)),
        "y": Column(type=ColumnType.FLOAT64, optional=True),
        "use": Column(type=ColumnType.BOOL, optional=True),
    },
    rows=Rows(min=5, least_of_last=0.9, least_groups_of_last=1.0),
    steps=(Step(column="age", within=("race_id",), order="age", most=0.1),),
    freshness=(Freshness(column="day", max_age_days=30),),
    drift=Drift(warn=0.2, fail=1.0),
    leakage=Leakage(target="y", among="use", most=0.9, hindsight=("y",)),
)
PRESENT = {name: column.type for name, column in SUITE.columns.items()}
SCAN = scan_of(SUITE, {"t": "p-x.d.t"}, PRESENT, {}, today=TODAY, features=("age", "y"))


def row(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "suite_table": "t",
        "row_count": 100,
        "group_count": 10,
        "checksum": 7,
        "newest_day": "2026-11-20",
        "present_0": 100,
        "bin_0_0": 50,
        "bin_0_1": 80,
        "correlation_0": 0.1,
    }
    for number, check in enumerate(SCAN.rows):
        found |= {f"failing_{number}": 0, f"examples_{number}": [], f"among_{number}": 100 if check.among else None}
    return {**found, **changes}


def place_of(check: Check, column: str) -> int:
    return next(n for n, c in enumerate(SCAN.rows) if (c.check, c.column) == (check, column))


def judged(found: dict[str, Any] | None, last: TableStatistics | None = None) -> dict[str, CheckResult]:
    rows = [found] if found else []
    results = judge(rows, SUITE, SCAN, last={"t": last} if last else {}, today=TODAY)
    return {result.name: result for result in results}


def good() -> TableStatistics:
    return statistics([row()], SUITE, SCAN)["t"]


def failed(found: dict[str, CheckResult]) -> list[str]:
    return [name for name, result in found.items() if not result.passed]


def test_a_good_table_passes_and_says_what_was_not_compared() -> None:
    found = judged(row())
    assert failed(found) == []
    assert found["drift(t.age)"].state == "skipped"
    assert found["drift(t.age)"].skipped == "nothing to compare with: no last good table"
    assert failed(judged(row(), good())) == []


def test_an_empty_table_is_its_own_failure() -> None:
    assert failed(judged(None)) == ["rows(t)", "groups(t.race_id)"]


@pytest.mark.parametrize(("rows", "passes"), [(90, True), (89, False)])
def test_rows_are_compared_with_the_last_good_table(rows: int, passes: bool) -> None:
    found = judged(row(row_count=rows), good())["rows(t)"]
    assert found.passed is passes
    assert found.expected == "90 rows or more (0.9 of the last good 100)"


def test_no_race_may_be_lost() -> None:
    assert failed(judged(row(group_count=9), good())) == ["groups(t.race_id)"]


@pytest.mark.parametrize(("missing", "passes"), [(10, True), (11, False)])
def test_completeness_is_a_share(missing: int, passes: bool) -> None:
    number = place_of(Check.COMPLETENESS, "age")
    found = judged(row(**{f"failing_{number}": missing, f"examples_{number}": ["a|1"]}))["completeness(t.age)"]
    assert (found.passed, found.value) == (passes, pytest.approx(1 - missing / 100))
    assert found.examples == (() if passes else ("a|1",))


def test_a_key_is_always_there() -> None:
    number = place_of(Check.COMPLETENESS, "race_id")
    assert failed(judged(row(**{f"failing_{number}": 1}))) == ["completeness(t.race_id)"]


@pytest.mark.parametrize(("failing", "among", "passes"), [(5, 50, True), (6, 50, False), (0, 0, True)])
def test_a_share_is_of_the_rows_that_can_break_it(failing: int, among: int, passes: bool) -> None:
    number = place_of(Check.STEPS, "age")
    found = judged(row(**{f"failing_{number}": failing, f"among_{number}": among}))["steps(t.age)"]
    assert found.passed is passes


@pytest.mark.parametrize(
    ("newest", "names"),
    [
        ("2026-11-20", []),
        ("2026-11-19", ["freshness(t.day)"]),
        ("2026-10-01", ["freshness(t.day)", "freshness(t.day+age)"]),
        ("soon", []),
        (None, []),
    ],
)
def test_the_newest_row_is_no_older_than_before(newest: str | None, names: list[str]) -> None:
    assert failed(judged(row(newest_day=newest), good())) == names


def test_an_old_table_is_a_warning() -> None:
    found = judged(row(newest_day="2026-10-01"))["freshness(t.day+age)"]
    assert (found.passed, found.severity, found.value) == (False, Severity.WARN, 57)


@pytest.mark.parametrize(
    ("bins", "state"), [((50, 80), "passed"), ((40, 72), "passed"), ((20, 50), "warning"), ((0, 5), "FAILED")]
)
def test_drift_is_a_warning_then_a_failure(bins: tuple[int, int], state: str) -> None:
    found = judged(row(bin_0_0=bins[0], bin_0_1=bins[1]), good())["drift(t.age)"]
    assert found.state == state, found


def test_other_bins_are_not_compared() -> None:
    last = replace(good(), histograms={"age": Histogram(edges=(1.0, 3.0), counts=(1, 2, 3))})
    assert judged(row(), last)["drift(t.age)"].skipped == "nothing to compare with: other bins before"


@pytest.mark.parametrize(("correlation", "passes"), [(0.9, True), (-0.91, False), (None, True), (math.nan, True)])
def test_a_feature_that_is_the_target_is_leakage(correlation: float | None, passes: bool) -> None:
    assert judged(row(correlation_0=correlation))["leakage(t.age)"].passed is passes


COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any)


@given(COUNTS, st.integers(1, 50))
def test_equal_shares_have_no_drift(counts: list[int], factor: int) -> None:
    assert stability_index(counts, [count * factor for count in counts]) == pytest.approx(0, abs=1e-9)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 99), min_size=n, max_size=n)] * 2)))
def test_drift_is_never_negative_and_has_no_direction(pair: tuple[list[int], list[int]]) -> None:
    before, now = pair
    index = stability_index(before, now)
    assert index >= 0
    assert index == pytest.approx(stability_index(now, before))


def test_the_index_of_a_known_example() -> None:
    expected = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.7 - 0.5) * math.log(0.7 / 0.5)
    assert stability_index([5, 5], [3, 7]) == pytest.approx(expected)


def test_statistics_hold_what_the_next_run_needs() -> None:
    found = good()
    assert (found.rows, found.groups, found.newest, found.checksum) == (100, 10, {"day": "2026-11-20"}, 7)
    assert found.histograms == {"age": Histogram(edges=(1, 2), counts=(50, 30, 20))}
    assert TableStatistics.from_json(found.to_json()).histograms["age"].counts == (50, 30, 20)


def test_the_query_names_each_table_once_and_takes_values_as_parameters() -> None:
    text = SCAN.query.sql
    assert text.count("`p-x.d.t`") == 1
    assert "2026" not in text
    assert ("STRING", "2026-11-27") in SCAN.query.parameters.values()
