"""Lines of a pod's log are shown as a person reads them."""

import json
from typing import Any

import pytest

from f1_training.core.chief_log import PROGRESS_EVERY, ChiefLogReader, LogLine


def record(**fields: Any) -> str:
    return json.dumps({"severity": "INFO", "message": "the message", "event": "other", **fields})


BOUNDARY = {"event": "boundary", "round": 300, "of": 800, "metric": "mae", "value": 561.23, "rows_per_s": 410_000}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({**BOUNDARY, "eta_s": 42.4}, "round 300 of 800, mae 561.23, 410k rows/s, 0:42 left"),
        (
            {**BOUNDARY, "eta_s": 3725, "rows_per_s": 2_500_000},
            "round 300 of 800, mae 561.23, 2.5M rows/s, 1:02:05 left",
        ),
        ({**BOUNDARY, "eta_s": 0, "rows_per_s": 999}, "round 300 of 800, mae 561.23, 999 rows/s, 0:00 left"),
        ({"event": "boundary", "round": 1}, "the message"),
        ({"event": "committed", "round": 300}, "the message"),
    ],
)
def test_events_in_words(fields: dict[str, Any], text: str) -> None:
    assert ChiefLogReader().read(record(**fields)) == LogLine(text=text)


def test_the_severity_is_kept() -> None:
    assert ChiefLogReader().read(record(severity="ERROR")) == LogLine(text="the message", severity="ERROR")


@pytest.mark.parametrize("raw", ["Traceback (most recent call last):", '["a list"]', '{"no": "message"}'])
def test_what_is_no_event_is_shown_as_it_is(raw: str) -> None:
    assert ChiefLogReader().read(raw + "\n") == LogLine(text=raw)


def test_an_empty_line_says_nothing() -> None:
    assert ChiefLogReader().read(" \n") is None


def test_of_many_progress_reports_a_few_are_shown() -> None:
    reader = ChiefLogReader()
    lines = [reader.read(record(event="progress", message=f"round {i}")) for i in range(1, 2 * PROGRESS_EVERY + 1)]
    shown = [line.text for line in lines if line]
    assert shown == [f"round {PROGRESS_EVERY}", f"round {2 * PROGRESS_EVERY}"]
