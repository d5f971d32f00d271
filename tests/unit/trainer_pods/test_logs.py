"""Log lines: JSON for Cloud Logging, or lines and a bar for a person."""

import io
import json
import logging

from trainer.logs import EventLog, JsonLines, Terminal, open_log


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line_with_google_clouds_fields() -> None:
    stream = io.StringIO()
    log = EventLog(job_id="job", sink=JsonLines(stream), fixed={"role": "chief"})
    log.info("boundary", "round 100/800:\nmae 1", round=100)
    log.error("outcome", "no")
    first, second = lines(stream)
    assert first["severity"] == "INFO"
    assert first["message"] == "round 100/800:\nmae 1"
    assert (first["job_id"], first["event"], first["round"], first["role"]) == ("job", "boundary", 100, "chief")
    assert str(first["time"]).endswith("Z")
    assert second["severity"] == "ERROR"


def test_progress_is_said_at_most_every_two_seconds() -> None:
    stream, now = io.StringIO(), [0.0]
    log = EventLog(job_id="job", sink=JsonLines(stream), clock=lambda: now[0])
    for boosting_round in range(1, 12):
        now[0] += 0.5
        log.progress(boosting_round, 11)
    assert [line["round"] for line in lines(stream)] == [1, 5, 9]


def test_a_terminal_gets_lines_and_a_bar_that_is_redrawn() -> None:
    stream = Tty()
    log = open_log("job", stream)
    assert isinstance(log.sink, Terminal)
    log.info("waiting", "waiting for 2 workers")
    log.progress(50, 100)
    log.warning("library", "careful")
    log.info("finished", "done")
    text = stream.getvalue()
    assert "waiting for 2 workers\n" in text
    assert "[############............]  50% round 50/100" in text
    assert "WARNING careful\n" in text
    assert "{" not in text
    assert text.endswith("done\n")


def test_what_libraries_log_is_forwarded_with_its_traceback() -> None:
    stream = io.StringIO()
    open_log("job", stream)
    try:
        try:
            raise ValueError("deep inside")
        except ValueError:
            logging.getLogger("some.library").exception("it failed")
        logging.getLogger("some.library").info("no news")
    finally:
        logging.getLogger().handlers.clear()
    (line,) = lines(stream)
    assert (line["severity"], line["event"], line["logger"]) == ("ERROR", "library", "some.library")
    assert "it failed" in str(line["message"])
    assert "ValueError: deep inside" in str(line["message"])
