"""Names of FastF1 as the archived laps write them (those of f1db), so that laps of both sources fit together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

#: An event's name before "Grand Prix", where the archive does not call the race by it.
_RACES: Mapping[str, str] = {
    "australian": "australia",
    "austrian": "austria",
    "barcelona": "barcelona-catalunya",
    "belgian": "belgium",
    "brazilian": "brazil",
    "british": "great-britain",
    "canadian": "canada",
    "chinese": "china",
    "dutch": "netherlands",
    "french": "france",
    "german": "germany",
    "hungarian": "hungary",
    "italian": "italy",
    "japanese": "japan",
    "mexican": "mexico",
    "mexico-city": "mexico",
    "portuguese": "portugal",
    "russian": "russia",
    "saudi-arabian": "saudi-arabia",
    "spanish": "spain",
    "styrian": "styria",
    "turkish": "turkey",
    "tuscan": "tuscany",
}

#: A location whose circuit has another name.
_CIRCUITS: Mapping[str, str] = {
    "abu-dhabi": "yas-marina",
    "al-daayen": "lusail",
    "barcelona": "catalunya",
    "budapest": "hungaroring",
    "hockenheim": "hockenheimring",
    "le-castellet": "paul-ricard",
    "madrid": "madring",
    "miami-gardens": "miami",
    "monte-carlo": "monaco",
    "montmelo": "catalunya",
    "nurburg": "nurburgring",
    "sakhir": "bahrain",
    "sao-paulo": "interlagos",
    "singapore": "marina-bay",
    "spa": "spa-francorchamps",
    "yas-island": "yas-marina",
}

_DRIVERS: Mapping[str, str] = {"andrea-kimi-antonelli": "kimi-antonelli", "carlos-sainz": "carlos-sainz-jr"}
_TEAMS: Mapping[str, str] = {"alfa-romeo-racing": "alfa-romeo", "haas-f1-team": "haas", "red-bull-racing": "red-bull"}

#: An official classification that is no number.
_FINISHES: Mapping[str, str] = {"R": "DNF", "D": "DSQ", "E": "DSQ", "W": "DNS", "F": "DNQ", "N": "NC"}


def grand_prix(event: str) -> str:
    """``great-britain`` for ``British Grand Prix``."""
    name = slug(event.removesuffix("Grand Prix"))
    return _RACES.get(name, name)


def race_id(season: int, number: int, event: str) -> str:
    """``2023_R05_miami``."""
    return f"{season}_R{number:02d}_{grand_prix(event).replace('-', '_')}"


def circuit_id(location: str) -> str:
    """``hungaroring`` for ``Budapest``."""
    name = slug(location)
    return _CIRCUITS.get(name, name)


def driver_id(name: str) -> str:
    """``nico-hulkenberg`` for ``Nico Hülkenberg``."""
    found = slug(name)
    return _DRIVERS.get(found, found)


def constructor_id(team: str) -> str:
    """``red-bull`` for ``Red Bull Racing``."""
    name = slug(team)
    return _TEAMS.get(name, name)


def finish_position(classified: str) -> str:
    """``DNF`` for ``R``; a number is a number."""
    return _FINISHES.get(classified, classified)


def slug(name: str) -> str:
    """Lower-case words without accents, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
