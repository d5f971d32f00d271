"""FastF1's names, written as the archived laps write them."""

import pytest

from f1_training.data import fastf1_names as names
from f1_training.data.fastf1_tables import _compounds, _pirelli


@pytest.mark.parametrize(
    ("season", "number", "event", "race_id"),
    [
        (2023, 5, "Miami Grand Prix", "2023_R05_miami"),
        (2024, 21, "São Paulo Grand Prix", "2024_R21_sao_paulo"),
        (2019, 18, "Mexican Grand Prix", "2019_R18_mexico"),
        (2023, 19, "Mexico City Grand Prix", "2023_R19_mexico"),
        (2026, 9, "British Grand Prix", "2026_R09_great_britain"),
        (2026, 7, "Barcelona Grand Prix", "2026_R07_barcelona_catalunya"),
        (2027, 1, "Ruritanian Grand Prix", "2027_R01_ruritanian"),
    ],
)
def test_races(season: int, number: int, event: str, race_id: str) -> None:
    assert names.race_id(season, number, event) == race_id


@pytest.mark.parametrize(
    ("location", "circuit"),
    [
        ("Budapest", "hungaroring"),
        ("Montmeló", "catalunya"),
        ("Montréal", "montreal"),
        ("Monte Carlo", "monaco"),
        ("Nürburgring", "nurburgring"),
        ("Yas Marina", "yas-marina"),
        ("Yas Island", "yas-marina"),
        ("Silverstone", "silverstone"),
    ],
)
def test_circuits(location: str, circuit: str) -> None:
    assert names.circuit_id(location) == circuit


def test_drivers_and_teams() -> None:
    assert names.driver_id("Nico Hülkenberg") == "nico-hulkenberg"
    assert names.driver_id("Carlos Sainz") == "carlos-sainz-jr"
    assert names.driver_id("Nyck De Vries") == "nyck-de-vries"
    assert names.constructor_id("Red Bull Racing") == "red-bull"
    assert names.constructor_id("Racing Bulls") == "racing-bulls"


def test_finishes() -> None:
    assert [names.finish_position(text) for text in ("1", "R", "D", "W", "N", "")] == [
        "1",
        "DNF",
        "DSQ",
        "DNS",
        "NC",
        "",
    ]


def test_the_tyres_of_2018_had_names_of_their_own() -> None:
    named = ["SUPERSOFT", "MEDIUM", "SOFT", "WET", ""]
    compounds = _compounds(2018, named)
    assert compounds == ["SOFT", "HARD", "MEDIUM", "WET", "UNKNOWN"]
    pirelli = [_pirelli(2018, *both) for both in zip(named, compounds, strict=True)]
    assert pirelli == ["SUPERSOFT", "MEDIUM", "SOFT", "WET", "UNKNOWN"]
    assert _compounds(2024, ["SOFT", "HARD", "TEST_UNKNOWN"]) == ["SOFT", "HARD", "UNKNOWN"]
