"""Every kind of damage is caught by the check that names it, and data that is not damaged passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from google.cloud import bigquery

from f1_training.core.results import CheckResult, Severity
from f1_training.data.validation import Validation
from tests.fakes import laps_archive
from tests.fakes.laps_archive import Archive, changed, in_race, with_table
from tests.integration.data_tables.conftest import NUMBERS, Pipeline, settings_for

pytestmark = pytest.mark.timeout(400)

Damage = Callable[[Archive], Archive]


def of_laps(change: Callable[[pa.Table], pa.Table]) -> Damage:
    return lambda archive: with_table(archive, "laps", change(archive["laps"]))


def everywhere(laps: pa.Table) -> pa.ChunkedArray:
    return pc.is_valid(laps["race_id"])


def some(laps: pa.Table) -> pa.ChunkedArray:
    """One lap in ten, of every driver."""
    return pc.equal(pc.bit_wise_and(pc.cast(laps["lap_number"], pa.int64()), 7), 3)


def shifted_within_a_stint(laps: pa.Table) -> pa.Table:
    late = pc.and_(in_race(laps), pc.equal(pc.bit_wise_and(pc.cast(laps["lap_number"], pa.int64()), 1), 1))
    return changed(laps, "tire_age", late, pc.add(laps["tire_age"], pa.scalar(3, laps["tire_age"].type)))


def renumbered(laps: pa.Table) -> pa.Table:
    """Every third lap of two races is missing."""
    gone = pc.equal(pc.cast(laps["lap_number"], pa.int64()), 9)
    return laps.filter(pc.invert(gone))


def text_column(laps: pa.Table, name: str) -> pa.Table:
    return laps.set_column(laps.schema.get_field_index(name), name, pc.cast(laps[name], pa.string()))


def seconds(laps: pa.Table) -> pa.Table:
    return changed(laps, "lap_time_ms", in_race(laps), pc.divide(laps["lap_time_ms"], 1000))


#: What is done to the data, and the name of the check that has to say so. A name ending in ``?`` is a warning.
DAMAGES: dict[str, tuple[Damage, str]] = {
    "nulls in a column": (
        of_laps(lambda t: changed(t, "lap_time_ms", some(t), None)), "completeness(laps.lap_time_ms)"
    ),
    "a column of nulls": (of_laps(lambda t: changed(t, "compound", everywhere(t), None)), "completeness(laps.compound)"),
    "rows without a key": (of_laps(lambda t: changed(t, "driver_id", some(t), None)), "completeness(laps.driver_id)"),
    "rows without a race": (of_laps(lambda t: changed(t, "race_id", some(t), None)), "schema(laps.race_id)"),
    "duplicated laps": (
        of_laps(lambda t: pa.concat_tables([t, t.filter(in_race(t)).slice(0, 5)])),
        "unique(laps.race_id+driver_id+lap_number)",
    ),
    "lap times in seconds": (of_laps(seconds), "range(laps.lap_time_ms)"),
    "lengths in miles": (
        of_laps(lambda t: changed(t, "course_length_km", everywhere(t), pc.multiply(t["course_length_km"], 0.3))),
        "range(laps.course_length_km)",
    ),
    "a shifted tyre age": (of_laps(shifted_within_a_stint), "steps(laps.tire_age)"),
    "a tyre age that starts at five": (
        of_laps(
            lambda t: changed(t, "tire_age", everywhere(t), pc.add(t["tire_age"], pa.scalar(4, t["tire_age"].type)))
        ),
        "steps(laps.tire_age+fresh_tyre)",
    ),
    "a negative tyre age": (of_laps(lambda t: changed(t, "tire_age", some(t), -2)), "range(laps.tire_age)"),
    "a position that no grid has": (of_laps(lambda t: changed(t, "position", some(t), 77)), "range(laps.position)"),
    "a missing lap": (of_laps(renumbered), "steps(laps.lap_number)"),
    "an unknown compound": (
        of_laps(lambda t: changed(t, "compound", in_race(t), "LIQUORICE")), "values(laps.compound)"
    ),
    "two compounds in a stint": (
        of_laps(lambda t: changed(t, "compound", pc.and_(in_race(t), some(t)), "UNKNOWN")),
        "constant(laps.compound)",
    ),
    "a race in two splits": (
        of_laps(lambda t: changed(t, "split", pc.and_(in_race(t), some(t)), "test")), "leakage(laps.split)"
    ),
    "a race in two seasons": (
        of_laps(lambda t: changed(t, "season", pc.and_(in_race(t), some(t)), 2024)), "constant(laps.season)"
    ),
    "an empty table": (of_laps(lambda t: t.slice(0, 0)), "rows(laps)"),
    "an extra column": (of_laps(lambda t: t.append_column("mood", pa.nulls(len(t), pa.string()))), "schema(laps.mood)?"),
    "a column less": (of_laps(lambda t: t.drop_columns("stint")), "schema(laps.stint)"),
    "a column of another type": (of_laps(lambda t: text_column(t, "lap_time_ms")), "schema(laps.lap_time_ms)"),
    "numbers that are not whole": (
        of_laps(
            lambda t: t.set_column(
                t.schema.get_field_index("stint"), "stint", pc.add(pc.cast(t["stint"], pa.float64()), 0.5)
            )
        ),
        "schema(laps.stint)",
    ),
    "dates in the future": (
        of_laps(lambda t: changed(t, "race_date", in_race(t), "2031-06-01")), "future(laps.race_date)"
    ),
    "seasons in the future": (of_laps(lambda t: changed(t, "season", in_race(t), 2031)), "future(laps.season)"),
    "a race that nobody knows": (
        of_laps(lambda t: changed(t, "race_id", in_race(t), "2023_R99_nowhere")), "reference(laps.race_id)"
    ),
    "a driver without a result": (
        of_laps(lambda t: changed(t, "driver_id", in_race(t), "nobody")), "reference(laps.race_id+driver_id)"
    ),
    "laps that do not add up": (
        of_laps(lambda t: changed(t, "lap_time_ms", everywhere(t), pc.add(t["lap_time_ms"], 900))),
        "totals(laps.lap_time_ms)",
    ),
    "no clean lap at all": (
        of_laps(lambda t: changed(t, "clean_lap", everywhere(t), False)), "completeness(train.lap_delta_ms)"
    ),
    "results of another race": (
        lambda a: with_table(a, "results", changed(a["results"], "race_id", in_race(a["results"]), "2023_R98_lost")),
        "reference(results.race_id)",
    ),
}  # fmt: skip
#: Only against the last good tables: the races that are left out were there before.
LOST: dict[str, tuple[Damage, str]] = {
    "a lost race": (of_laps(lambda t: t.filter(pc.invert(in_race(t, -1)))), "groups(laps.race_id)"),
    "a lost season": (
        of_laps(lambda t: t.filter(pc.less(t["season"], max(t["season"].to_pylist())))), "freshness(laps.season)"
    ),
    "lost laps": (of_laps(lambda t: t.filter(pc.less(t["lap_number"], 40))), "rows(laps)"),
    "tyres twice as old": (
        of_laps(
            lambda t: changed(t, "tire_age", everywhere(t), pc.add(t["tire_age"], pa.scalar(20, t["tire_age"].type)))
        ),
        "drift(laps.tire_age)",
    ),
    "slightly older tyres": (
        of_laps(lambda t: changed(t, "tire_age", everywhere(t), pc.add(t["tire_age"], pa.scalar(5, t["tire_age"].type)))),
        "drift(laps.tire_age)?",
    ),
}  # fmt: skip


#: What hides nothing of each other: found at once in one table of real laps.
TOGETHER = (
    "nulls in a column",
    "a column of nulls",
    "duplicated laps",
    "lap times in seconds",
    "lengths in miles",
    "a shifted tyre age",
    "a negative tyre age",
    "a position that no grid has",
    "a missing lap",
    "a race in two splits",
    "a race in two seasons",
    "an extra column",
    "dates in the future",
    "results of another race",
    "a driver without a result",
    "a race that nobody knows",
)


@pytest.fixture(scope="module")
def archive() -> Archive:
    return laps_archive.simulated()


@pytest.fixture(scope="module")
def real() -> Archive:
    if not laps_archive.REAL.joinpath("results.parquet").exists():
        pytest.skip("no real laps: set F1_LAPS to a laps.parquet with its companions beside it")
    return laps_archive.real()


def accepted(client: bigquery.Client, archive: Archive, folder: Path) -> Pipeline:
    pipeline = Pipeline(client, settings_for(f"good{next(NUMBERS)}", folder))
    assert not any(result.failed for result in pipeline.ingest(archive))
    pipeline.last = pipeline.validate().statistics
    return pipeline


@pytest.fixture(scope="module")
def good(client: bigquery.Client, archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The archive as it is, accepted."""
    return accepted(client, archive, tmp_path_factory.mktemp("good"))


def expect(found: dict[str, CheckResult], name: str) -> None:
    warning = name.endswith("?")
    result = found.get(name.rstrip("?"))
    assert result is not None, f"not among {sorted(found)}"
    assert result.severity is (Severity.WARN if warning else Severity.FAIL)
    if not warning:
        assert result.failed


def require_all_passed(found: Validation) -> None:
    assert [result.finding() for result in found.results if not result.passed] == []
    kinds = {result.check.value for result in found.results if not result.skipped}
    assert {"schema", "completeness", "unique", "range", "values", "steps", "reference", "totals", "future"} <= kinds
    assert {"rows", "groups", "freshness", "drift", "leakage", "constant", "finite"} <= kinds


def test_data_that_is_not_damaged_passes_every_check(good: Pipeline) -> None:
    require_all_passed(good.validate())


def test_real_laps_pass_and_damaged_ones_are_caught(client: bigquery.Client, real: Archive, tmp_path: Path) -> None:
    pipeline = accepted(client, real, tmp_path)
    require_all_passed(pipeline.validate())
    damaged = real
    for damage in TOGETHER:
        damaged = DAMAGES[damage][0](damaged)
    found = pipeline.findings(damaged, raw_only=True)
    for damage in TOGETHER:
        expect(found, DAMAGES[damage][1])
    for damage in ("laps that do not add up", "a tyre age that starts at five"):
        apply, name = DAMAGES[damage]
        expect(pipeline.findings(apply(real), raw_only=True), name)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_caught_by_the_check_that_names_it(pipeline: Pipeline, archive: Archive, damage: str) -> None:
    apply, name = DAMAGES[damage]
    found = pipeline.findings(apply(archive), raw_only="(train" not in name)
    expect(found, name)


@pytest.mark.parametrize("damage", LOST)
def test_what_is_missing_or_other_than_before_is_noticed(
    pipeline: Pipeline, good: Pipeline, archive: Archive, damage: str
) -> None:
    apply, name = LOST[damage]
    pipeline.last = good.last
    expect(pipeline.findings(apply(archive), raw_only=True), name)


def test_rows_to_look_at_are_named(pipeline: Pipeline, archive: Archive) -> None:
    found = pipeline.findings(of_laps(seconds)(archive), raw_only=True)["range(laps.lap_time_ms)"]
    assert len(found.examples) == 10
    race, driver, lap = found.examples[0].split("|")
    assert race == sorted(set(archive["laps"]["race_id"].to_pylist()))[0]
    assert driver in archive["laps"]["driver_id"].to_pylist()
    assert int(lap) >= 1
