"""Laps of races that have been run, from FastF1: timing by Formula 1's own feed, results by the Ergast API.

The tables look like the archived ones: ids as in :mod:`f1_training.data.fastf1_names`, times in ms, one row a lap.

FastF1 does not know ``course_length_km`` and ``circuit_type``, which come from ``circuits.toml``. Null are
``compound_pirelli`` of slick tyres from 2019 on (it says SOFT, MEDIUM or HARD, not which of C1 to C6) and, where its
sources have gaps, ``scheduled_laps``, ``pole_time_ms``, ``quali_best_ms`` and ``grid_position`` (a start from the pit
lane, or results that are not out yet), ``lap_time_ms`` (aborted laps), ``position`` (a last lap that FastF1 added for a
car that stopped).

FastF1 is an optional extra and brings pandas: both are imported when laps are asked for, pandas never by name.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from f1_training.data import fastf1_names as names
from f1_training.data.fastf1_tables import Race, laps_table, quali_best_ms, race_table, results_table
from f1_training.data.lap_columns import LAPS
from trainer.contract import FailureReason, TrainingFailure

FIRST_SEASON = 2018  # no lap timing before

#: Reason by the name of an error's class or of a base of it: FastF1 moves its classes from version to version.
_REASONS: Mapping[str, FailureReason] = MappingProxyType(
    {
        "RateLimitExceededError": FailureReason.RESOURCE_EXHAUSTED,
        "RequestException": FailureReason.NETWORK_TIMEOUT,
        "ErgastError": FailureReason.NETWORK_TIMEOUT,
    }
)
_FIXES: Mapping[FailureReason, str] = MappingProxyType(
    {
        FailureReason.RESOURCE_EXHAUSTED: "start it again in an hour; what was fetched is in the cache",
        FailureReason.PERMISSION_DENIED: "set F1_USERNAME and F1_PASSWORD of an account that may read live timing",
        FailureReason.NETWORK_TIMEOUT: "check that FastF1's sources can be reached from here",
    }
)


def season_tables(
    season: int, rounds: Sequence[int] | None = None, *, cache: Path, today: date
) -> Iterator[tuple[str, pa.Table]]:
    """Name and rows of ``races``, ``results`` and ``laps`` of each race, in order, one race in memory at a time.

    Args:
        season: a year from 2018 on.
        rounds: which of its races; None for every one before ``today``.
        cache: a folder for what is downloaded; made where it is missing.
        today: the clock. A race of this day may still be running, so it counts as not run yet.

    Raises:
        TrainingFailure: ``ConfigInvalid`` without the extra, and for a season or round that does not exist or was not
            run yet; ``NetworkTimeout``, ``ResourceExhausted`` or ``PermissionDenied`` by what FastF1's sources did;
            ``DataInvalid`` for a race without laps.
    """
    fastf1 = _fastf1(cache)
    for event in _events(fastf1, season, rounds, today):
        race = _race(season, event)
        yield "races", race_table(race)
        yield "results", results_table(race)
        yield LAPS, laps_table(race)


def _fastf1(cache: Path) -> Any:
    try:
        import fastf1
    except ImportError as e:
        message = (
            "FastF1 is not installed; install the extra f1-training[fastf1], into an environment of its own where "
            "pandas is too new for it, and name its interpreter in data.fastf1_python of the Variable f1_training"
        )
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message) from e
    cache.mkdir(parents=True, exist_ok=True)
    configure = getattr(fastf1.Cache, "configure", None) or fastf1.Cache.enable_cache  # its name before 3.9
    configure(cache_dir=str(cache))
    return fastf1


def _events(fastf1: Any, season: int, rounds: Sequence[int] | None, today: date) -> list[Any]:
    """The races to fetch, in order."""
    if not FIRST_SEASON <= season <= today.year:
        message = (
            f"season {season}: FastF1 has lap timing of {FIRST_SEASON} to {today.year}; choose one of these seasons"
        )
        raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    events = _schedule(fastf1, season)
    run = [number for number, event in sorted(events.items()) if event["EventDate"].date() < today]
    wanted = run if rounds is None else sorted(set(rounds))
    for number in wanted:
        if number not in events:
            message = f"season {season} has no round {number}; its rounds are {min(events)} to {max(events)}"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
        if number not in run:
            message = f"round {number} of {season} is on {events[number]['EventDate'].date()}; choose one that was run"
            raise TrainingFailure(FailureReason.CONFIG_INVALID, message)
    return [events[number] for number in wanted]


def _schedule(fastf1: Any, season: int) -> dict[int, Any]:
    """The season's events by round."""
    with _watched(f"schedule of {season}") as log:
        try:
            schedule = fastf1.get_event_schedule(season, include_testing=False)
        except ValueError as e:  # none of its three sources, of which one is enough
            log.refuse_holes()
            raise TrainingFailure(FailureReason.NETWORK_TIMEOUT, f"{log.what}: {e} {log.heard()}") from e
        events = {int(event["RoundNumber"]): event for _, event in schedule.iterrows()}
        if not events:
            log.refuse_holes()
            raise TrainingFailure(FailureReason.CONFIG_INVALID, f"season {season} has no races; choose another season")
    return events


def _race(season: int, event: Any) -> Race:
    what = f"{event['EventName']} {season}"
    with _watched(what) as log:
        race = _loaded(event, "Race", laps=True)
        results = _if_there(_loaded(event, "Qualifying", laps=False), "results")
        parts = {part: _if_there(race, part) for part in ("laps", "track_status", "results")}
        turns = _turns(race) if parts["laps"] is not None and _if_there(race, "session_info") is not None else None
        # Half a race, without its grid say, would be taken for all there is.
        log.refuse_holes()
    missing = [part.replace("_", " ") for part, found in parts.items() if found is None]
    if missing:
        reason = FailureReason.PERMISSION_DENIED if log.unknown_account else FailureReason.DATA_INVALID
        fix = _FIXES.get(reason, "leave this round out, or start it again when they are there")
        raise TrainingFailure(reason, f"{what}: FastF1 got no {' and no '.join(missing)} {log.heard()}; {fix}")
    number = int(event["RoundNumber"])
    return Race(
        race_id=names.race_id(season, number, event["EventName"]),
        season=season,
        round=number,
        race_date=event["EventDate"].date().isoformat(),
        grand_prix=names.grand_prix(event["EventName"]),
        circuit_id=names.circuit_id(event["Location"]),
        scheduled_laps=_if_there(race, "total_laps"),
        turns=turns,
        quali_ms={} if results is None else quali_best_ms(results),
        results=parts["results"],
        laps=parts["laps"],
    )


def _loaded(event: Any, name: str, *, laps: bool) -> Any:
    session = event.get_session(name)
    session.load(laps=laps, telemetry=False, weather=False, messages=False)
    return session


def _if_there(session: Any, name: str) -> Any:
    """What FastF1 loaded, None where it could not."""
    try:
        return getattr(session, name)
    except Exception as e:
        if type(e).__name__ == "DataNotLoadedError":
            return None
        raise


def _turns(race: Any) -> int | None:
    """How many corners the circuit's map numbers; 2a and 2b are one."""
    try:
        corners = race.get_circuit_info().corners
    except (AttributeError, KeyError):  # how FastF1 says that there is no map
        return None
    return int(corners["Number"].max()) if len(corners) else None


class _Log(logging.Handler):
    """What FastF1 logs while it loads. It swallows most errors, logs them at DEBUG, and goes on with holes."""

    def __init__(self, what: str) -> None:
        super().__init__(logging.DEBUG)
        self.what = what
        self.errors: list[BaseException] = []
        self.said: list[str] = []
        self.unknown_account = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep errors and warnings."""
        if record.exc_info and record.exc_info[1]:
            self.errors.append(record.exc_info[1])
        if record.levelno >= logging.WARNING:
            self.said.append(record.getMessage())
            self.unknown_account |= "f1account" in record.name

    def heard(self) -> str:
        """The warnings, for a message."""
        return f"(FastF1 said: {' '.join(self.said) or 'nothing'})"

    def refuse_holes(self) -> None:
        """Raise the first error of FastF1's sources that it swallowed.

        Raises:
            TrainingFailure: with the error's reason.
        """
        for error in self.errors:
            self.translate(error)

    def translate(self, error: BaseException) -> None:
        """Raise ``error`` as a failure where it is one of FastF1's sources.

        Raises:
            TrainingFailure: with the error's reason.
        """
        for base in type(error).__mro__:
            if (reason := _REASONS.get(base.__name__)) is not None:
                if "Too Many Requests" in str(error):  # Ergast's own limit, an ErgastError as any other
                    reason = FailureReason.RESOURCE_EXHAUSTED
                raise TrainingFailure(reason, f"{self.what}: {error}; {_FIXES[reason]}") from error


@contextlib.contextmanager
def _watched(what: str) -> Iterator[_Log]:
    """Translate the errors of FastF1's sources, and collect those that it swallows.

    Raises:
        TrainingFailure: an error of its sources; ``DataInvalid`` where FastF1 gave up.
    """
    logger = logging.getLogger("fastf1")
    log = _Log(what)
    logger.addHandler(log)
    try:
        yield log
    except SystemExit as e:  # it leaves the process when it cannot fill its cache
        log.refuse_holes()
        message = f"{what}: FastF1 gave up {log.heard()}; empty its cache and start it again"
        raise TrainingFailure(FailureReason.DATA_INVALID, message) from e
    except Exception as e:
        log.translate(e)
        raise
    finally:
        logger.removeHandler(log)
