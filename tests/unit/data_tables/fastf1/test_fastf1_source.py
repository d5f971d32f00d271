"""Laps from FastF1: the real library, served recorded answers.

``recording/`` holds what is recorded: FastF1's own recording of the second practice of round 5 of 2020 (four
drivers, 24:33 to 29:24 of the session, and when each left the pits first), the official results of that round and the
schedule. Composed is: that this practice is served as the race; the lap count, which is of another race; the map of
the circuit, which is Monza's; the times of the qualifying (``QUALIFYING``); and that Ergast has no time of lap 1.
"""

import io
import json
import logging
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from f1_training.data.fastf1_source import season_tables
from f1_training.data.fastf1_tables import LAP_SCHEMA, RACE_SCHEMA, RESULT_SCHEMA
from f1_training.data.lap_columns import COMPANIONS, LAP_COLUMNS
from trainer.contract import FailureReason, TrainingFailure

RECORDING = Path(__file__).parent / "recording"
LIVE = "https://livetiming.formula1.com/static/2020/2020-08-09_70th_Anniversary_Grand_Prix/"
ERGAST = "https://api.jolpi.ca/ergast/f1/2020"
FILES = {
    "https://raw.githubusercontent.com/theOehrly/f1schedule/master/schedule_2020.json": "schedule_2020.json",
    f"{LIVE}2020-08-09_Race/SessionInfo.jsonStream": "session_info.raw",
    f"{LIVE}2020-08-09_Race/DriverList.jsonStream": "driver_list.raw",
    f"{LIVE}2020-08-09_Race/SessionStatus.jsonStream": "session_status.raw",
    f"{LIVE}2020-08-09_Race/LapCount.jsonStream": "lap_count.raw",
    f"{LIVE}2020-08-09_Race/TrackStatus.jsonStream": "track_status.raw",
    f"{LIVE}2020-08-09_Race/TimingData.jsonStream": "timing_data.raw",
    f"{LIVE}2020-08-09_Race/TimingAppData.jsonStream": "timing_app_data.raw",
    f"{LIVE}2020-08-08_Qualifying/SessionInfo.jsonStream": "session_info.raw",
    f"{LIVE}2020-08-08_Qualifying/DriverList.jsonStream": "driver_list.raw",
    f"{ERGAST}/5/results.json": "ergast_race_result.raw",
    "https://api.multiviewer.app/api/v1/circuits/2/2020": "mvapi_circuits.raw",
}
QUALIFYING = {"5": {"Q1": "1:27.500", "Q2": "1:27.100"}, "16": {"Q1": "1:27.000", "Q2": "1:26.500", "Q3": "1:26.600"}}
TODAY = date(2020, 8, 12)


class Web:
    """Answers by address, given to FastF1 where it would send a request; anything else is not found."""

    def __init__(self) -> None:
        self.answers = {url: (RECORDING / name).read_bytes() for url, name in FILES.items()}
        for url, body in self.answers.items():
            if url.startswith(LIVE):
                self.answers[url] = body.replace(b"\n", b"\r\n")  # as the feed separates its lines
        race = json.loads(self.answers[f"{ERGAST}/5/results.json"])["MRData"]
        (found,) = race["RaceTable"]["Races"]
        drivers = {row["number"]: row for row in found.pop("Results")}
        self.answers[f"{ERGAST}/5/laps/1.json"] = json.dumps({"MRData": race | {"RaceTable": {"Races": []}}}).encode()
        found["QualifyingResults"] = [
            {name: drivers[number][name] for name in ("number", "Driver", "Constructor")} | {"position": str(i)} | times
            for i, (number, times) in enumerate(QUALIFYING.items(), 1)
        ]
        self.answers[f"{ERGAST}/5/qualifying.json"] = json.dumps({"MRData": race}).encode()
        self.broken: dict[str, int | BaseException] = {}
        self.asked: list[str] = []
        self.warns: tuple[str, str] | None = None

    def breaks(self, part: str, how: int | BaseException) -> None:
        """Addresses with ``part`` in them answer with this status, or raise this."""
        self.broken[part] = how

    def replaces(self, url: str, old: str, new: str) -> None:
        """The answer of ``url`` says ``new`` where it says ``old``."""
        assert old.encode() in self.answers[url]
        self.answers[url] = self.answers[url].replace(old.encode(), new.encode())

    def send(self, request: Any) -> Any:
        import requests
        import urllib3

        url = request.url.partition("?")[0]
        self.asked.append(url)
        if self.warns:
            logging.getLogger(self.warns[0]).warning(self.warns[1])
        how = next((how for part, how in self.broken.items() if part in url), 200 if url in self.answers else 404)
        if isinstance(how, BaseException):
            raise how
        body = io.BytesIO(self.answers[url] if how == 200 else b"")
        reason = {429: "Too Many Requests", 500: "Internal Server Error"}.get(how, "")
        raw = urllib3.HTTPResponse(body=body, status=how, reason=reason, preload_content=False)
        return requests.adapters.HTTPAdapter().build_response(request, raw)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    req = pytest.importorskip("fastf1.req", reason="FastF1 is not installed: make test-fastf1 has it")
    answers = Web()
    # Its session waits between requests, and signs in for live timing; nothing of both is wanted here.
    monkeypatch.setattr(req._SessionWithRateLimiting, "send", lambda _self, request, **_: answers.send(request))
    return answers


@pytest.fixture
def tables(web: Web, tmp_path: Path) -> Callable[..., dict[str, pa.Table]]:
    def fetch(season: int = 2020, rounds: list[int] | None = None, today: date = TODAY) -> dict[str, pa.Table]:
        return dict(season_tables(season, [5] if rounds is None else rounds, cache=tmp_path / "cache", today=today))

    return fetch


def lap(laps: pa.Table, driver: str, number: int) -> dict[str, Any]:
    (row,) = [row for row in laps.to_pylist() if (row["driver_id"], row["lap_number"]) == (driver, number)]
    return row


def refused(reason: FailureReason, fetch: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(TrainingFailure) as caught:
        fetch(*args, **kwargs)
    assert caught.value.reason is reason
    return str(caught.value)


def test_without_fastf1_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "fastf1", None)
    said = refused(FailureReason.CONFIG_INVALID, list, season_tables(2020, cache=tmp_path, today=TODAY))
    assert "install the extra f1-training[fastf1]" in said


def test_columns_and_types_are_those_of_the_archive(tables: Callable[..., dict[str, pa.Table]]) -> None:
    found = tables()
    assert list(found) == ["races", "results", "laps"]
    assert found["races"].schema == RACE_SCHEMA
    assert found["results"].schema == RESULT_SCHEMA
    assert found["laps"].schema == LAP_SCHEMA
    assert {name: LAP_SCHEMA.field(name).type for name in LAP_COLUMNS} == {n: k.arrow for n, k in LAP_COLUMNS.items()}
    assert set(COMPANIONS["races"]) <= set(RACE_SCHEMA.names)
    assert set(COMPANIONS["results"]) <= set(RESULT_SCHEMA.names)
    assert found["laps"]["compound_pirelli"].null_count == found["laps"].num_rows


def test_a_lap_is_what_was_recorded(tables: Callable[..., dict[str, pa.Table]]) -> None:
    found = lap(tables()["laps"], "charles-leclerc", 2)
    assert found == {
        "race_id": "2020_R05_70th_anniversary",
        "season": 2020,
        "circuit_id": "silverstone",
        "race_date": "2020-08-09",
        "driver_id": "charles-leclerc",
        "constructor_id": "ferrari",
        "lap_number": 2,
        "lap_time_ms": 87_646,
        "sector1_ms": 27_984,
        "sector2_ms": 35_567,
        "sector3_ms": 24_095,
        "position": 3,
        "order_at_line": 3,
        "interval_ahead_ms": 19_567,
        "line_gap_any_car_ms": 19_567,
        "compound": "MEDIUM",
        "compound_pirelli": None,
        "tire_age": 2,
        "fresh_tyre": True,
        "stint": 1,
        "scheduled_laps": 56,
        "course_length_km": 5.891,
        "turns": 11,
        "circuit_type": "RACE",
        "pole_time_ms": 86_500,
        "quali_best_ms": 86_500,
        "grid_position": 8,
        "race_wet_share": 0.0,
        "clean_lap": True,
        "is_pit_in_lap": False,
        "is_pit_out_lap": False,
        "track_status": "1",
    }


def test_laps_in_and_out_of_the_pits_are_not_clean(tables: Callable[..., dict[str, pa.Table]]) -> None:
    laps = tables()["laps"]
    pits = {
        (row["driver_id"], row["lap_number"]): (row["is_pit_in_lap"], row["is_pit_out_lap"]) for row in laps.to_pylist()
    }
    assert pits == {
        **{(driver, 1): (False, True) for driver in ("charles-leclerc", "sebastian-vettel")},
        **{(driver, 2): (False, False) for driver in ("charles-leclerc", "sebastian-vettel")},
        **{(driver, 3): (True, False) for driver in ("charles-leclerc", "sebastian-vettel")},
        **{(driver, 1): (False, True) for driver in ("kimi-raikkonen", "antonio-giovinazzi")},
        **{(driver, 2): (True, False) for driver in ("kimi-raikkonen", "antonio-giovinazzi")},
        **{(driver, 3): (True, True) for driver in ("kimi-raikkonen", "antonio-giovinazzi")},
    }
    clean = [(row["driver_id"], row["lap_number"]) for row in laps.to_pylist() if row["clean_lap"]]
    assert clean == [("charles-leclerc", 2), ("sebastian-vettel", 2)]


def test_a_set_that_is_kept_grows_older_in_the_next_stint(tables: Callable[..., dict[str, pa.Table]]) -> None:
    laps = tables()["laps"]
    before, after = lap(laps, "kimi-raikkonen", 2), lap(laps, "kimi-raikkonen", 3)
    assert (before["stint"], before["tire_age"], before["fresh_tyre"]) == (1, 2, True)
    assert (after["stint"], after["tire_age"], after["fresh_tyre"]) == (2, 8, False)  # 7 laps old when it was kept


def test_the_first_over_the_line_has_nobody_ahead(tables: Callable[..., dict[str, pa.Table]]) -> None:
    laps = tables()["laps"]
    first = lap(laps, "kimi-raikkonen", 1)
    assert (first["order_at_line"], first["interval_ahead_ms"], first["line_gap_any_car_ms"]) == (1, None, None)
    leads = lap(laps, "kimi-raikkonen", 2)  # of its lap; others cross the line before, a lap behind
    assert (leads["order_at_line"], leads["interval_ahead_ms"], leads["line_gap_any_car_ms"]) == (1, None, 50_520)


def test_results_are_the_official_ones(tables: Callable[..., dict[str, pa.Table]]) -> None:
    found = tables()
    shared = {"session": "R", "season": 2020, "round": 5, "race_id": "2020_R05_70th_anniversary"}
    rows = {row["driver_number"]: row for row in found["results"].to_pylist()}
    assert list(rows) == [33, 16, 5, 7, 99, 20]
    assert rows[33] == shared | {
        "driver_id": "max-verstappen",
        "constructor_id": "red-bull",
        "driver_number": 33,
        "finish_position": "1",
        "grid_position": "4",
        "laps_completed": 52.0,
        "finish_time_ms": 4_781_993.0,
    }
    assert rows[5]["finish_time_ms"] == 4_855_363.0  # recorded too, beside the gap that FastF1 reads
    assert (rows[7]["finish_position"], rows[7]["finish_time_ms"]) == ("15", None)  # a lap behind
    assert (rows[20]["finish_position"], rows[20]["laps_completed"]) == ("DNF", 43.0)
    assert found["races"].to_pylist() == [
        {
            "race_id": "2020_R05_70th_anniversary",
            "season": 2020,
            "round": 5,
            "race_date": "2020-08-09",
            "grand_prix": "70th-anniversary",
            "circuit_id": "silverstone",
            "scheduled_laps": 56,
            "pole_time_ms": 86_500,
        }
    ]


def test_a_start_from_the_pit_lane_has_no_place_on_the_grid(
    web: Web, tables: Callable[..., dict[str, pa.Table]]
) -> None:
    web.replaces(f"{ERGAST}/5/results.json", '"grid":"20"', '"grid":"0"')
    found = tables()
    assert lap(found["laps"], "kimi-raikkonen", 2)["grid_position"] is None
    assert [row["grid_position"] for row in found["results"].to_pylist() if row["driver_number"] == 7] == ["PL"]


def test_rain_tyres_have_a_name_and_are_not_clean(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    web.replaces(f"{LIVE}2020-08-09_Race/TimingAppData.jsonStream", '"MEDIUM"', '"INTERMEDIATE"')
    laps = tables()["laps"]
    assert set(laps["compound"].to_pylist()) == set(laps["compound_pirelli"].to_pylist()) == {"INTERMEDIATE"}
    assert set(laps["race_wet_share"].to_pylist()) == {1.0}
    assert not any(laps["clean_lap"].to_pylist())


def test_slow_laps_are_not_clean(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    timing = f"{LIVE}2020-08-09_Race/TimingData.jsonStream"
    web.replaces(timing, '"1":{"Value":"35.597"', '"1":{"Value":"55.597"')
    web.replaces(timing, '"1:27.937"', '"1:47.937"')
    laps = tables()["laps"]
    assert lap(laps, "sebastian-vettel", 2)["lap_time_ms"] == 107_937  # more than 1.07 x the median of both
    assert [row["driver_id"] for row in laps.to_pylist() if row["clean_lap"]] == ["charles-leclerc"]


@pytest.mark.parametrize(
    ("part", "column", "value"),
    [("LapCount", "scheduled_laps", None), ("/circuits/", "turns", 18), ("_Race/SessionInfo", "turns", 18)],
)
def test_what_no_source_has_is_null_or_what_is_known_of_the_circuit(
    web: Web, tables: Callable[..., dict[str, pa.Table]], part: str, column: str, value: int | None
) -> None:
    web.breaks(part, 404)
    assert set(tables()["laps"][column].to_pylist()) == {value}


def test_all_rounds_are_those_before_today_one_at_a_time(web: Web, tmp_path: Path) -> None:
    for url, body in list(web.answers.items()):  # the round before is the same race a week earlier
        before = url.replace("70th_Anniversary", "British").replace("2020-08-09", "2020-08-02").replace("/5/", "/4/")
        web.answers[before.replace("2020-08-08", "2020-08-01")] = body

    def fetched(day: int) -> list[tuple[str, str]]:
        tables = season_tables(2020, cache=tmp_path, today=date(2020, 8, day))
        return [(name, table["race_id"][0].as_py()) for name, table in tables]

    names = ("races", "results", "laps")
    british = [(name, "2020_R04_great_britain") for name in names]
    assert fetched(2) == []  # it may still be running
    assert fetched(9) == british
    assert not any("70th_Anniversary" in url for url in web.asked)
    assert fetched(10) == british + [(name, "2020_R05_70th_anniversary") for name in names]


def test_a_race_without_laps_is_refused(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    web.breaks("_Race/", 404)
    said = refused(FailureReason.DATA_INVALID, tables)
    assert said.startswith("70th Anniversary Grand Prix 2020: FastF1 got no laps and no track status (FastF1 said: ")
    assert said.endswith("leave this round out, or start it again when they are there")


def test_rounds_come_once(web: Web, tmp_path: Path) -> None:
    tables = season_tables(2020, [5, 5], cache=tmp_path, today=TODAY)
    assert [name for name, _ in tables] == ["races", "results", "laps"]


@pytest.mark.parametrize(
    ("season", "rounds", "said"),
    [
        (2017, None, "season 2017: FastF1 has lap timing of 2018 to 2020"),
        (2021, None, "season 2021: FastF1 has lap timing of 2018 to 2020"),
        (2020, [30], "season 2020 has no round 30; its rounds are 4 to 6"),
        (2020, [0], "season 2020 has no round 0"),
        (2020, [6], "round 6 of 2020 is on 2020-08-16"),
    ],
)
def test_unknown_races_are_refused(web: Web, tmp_path: Path, season: int, rounds: list[int] | None, said: str) -> None:
    tables = season_tables(season, rounds, cache=tmp_path, today=TODAY)
    assert said in refused(FailureReason.CONFIG_INVALID, list, tables)


def test_a_season_without_races_is_refused(web: Web, tmp_path: Path) -> None:
    web.answers[f"{ERGAST[:-4]}2019.json"] = b'{"MRData":{"RaceTable":{"season":"2019","Races":[]}}}'
    tables = season_tables(2019, cache=tmp_path, today=TODAY)
    assert "season 2019 has no races" in refused(FailureReason.CONFIG_INVALID, list, tables)


@pytest.mark.parametrize("part", ["", "TimingData", "TrackStatus", "results.json", "qualifying.json", "circuits"])
def test_no_network_is_no_smaller_race(web: Web, tables: Callable[..., dict[str, pa.Table]], part: str) -> None:
    """FastF1 goes on without what it cannot fetch."""
    web.breaks(part, requests_error())
    said = refused(FailureReason.NETWORK_TIMEOUT, tables)
    assert "no route" in said
    assert "check that FastF1's sources can be reached" in said


def test_a_source_that_fails_is_asked_again_later(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    web.breaks("results.json", 500)
    assert "Internal Server Error" in refused(FailureReason.NETWORK_TIMEOUT, tables)
    web.broken.clear()
    assert len(tables()) == 3


def test_another_source_may_have_the_schedule(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    web.breaks("schedule_2020.json", requests_error())
    race = {"season": "2020", "round": "5", "raceName": "70th Anniversary Grand Prix", "date": "2020-08-09"}
    circuit = {"Location": {"locality": "Silverstone", "country": "UK"}}
    races = {"MRData": {"RaceTable": {"Races": [race | {"Circuit": circuit, "time": "13:10:00Z"}]}}}
    web.answers[f"{ERGAST}.json"] = json.dumps(races).encode()
    assert tables()["laps"].num_rows == 12


@pytest.mark.parametrize("how", ["status", "own"])
def test_rate_limits(web: Web, tables: Callable[..., dict[str, pa.Table]], how: str) -> None:
    from fastf1.req import RateLimitExceededError

    web.breaks("results.json", 429 if how == "status" else RateLimitExceededError("any API: 500 calls/h"))
    assert "start it again in an hour" in refused(FailureReason.RESOURCE_EXHAUSTED, tables)


def test_an_account_that_is_missing_is_named(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    web.breaks("_Race/", 403)
    said = "Failed to authenticate with Formula 1 account, continuing without authentication"
    web.warns = ("fastf1.fastf1.internals.f1account.transport", said)  # as FastF1 3.9 does before it asks
    message = refused(FailureReason.PERMISSION_DENIED, tables)
    assert said in message
    assert "set F1_USERNAME and F1_PASSWORD" in message


def test_fastf1_does_not_end_the_process(web: Web, tables: Callable[..., dict[str, pa.Table]]) -> None:
    web.breaks("TimingData", SystemExit())
    assert "FastF1 gave up" in refused(FailureReason.DATA_INVALID, tables)


def requests_error() -> Exception:
    import requests

    return requests.ConnectionError("no route")
