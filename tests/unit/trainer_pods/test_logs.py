"""Log lines: JSON for Cloud Logging, or lines and a bar for a person."""

import io
import json
import logging
import re

import pytest

from trainer.logs import TRACE, EventLog, JsonLines, Terminal, open_log, pod_fields


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


POD = {
    "TRAINING_MODEL_TYPE": "tire_degradation",
    "TRAINING_DATA_SPLIT": "train",
    "TOTAL_WORKERS": "4",
    "WORKER_INDEX": "2",
    "TRAINING_ATTEMPT": "3",
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "TRAINING_SPEC": "the spec",
    "BIGQUERY_TOKEN": "a secret",
}


def test_every_line_says_which_pod_of_which_run_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in POD.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    log = open_log("job-1", stream, role="worker")
    logging.getLogger().handlers.clear()
    log.info("training", "round 7 is trained", round=7)
    log.warning("leaving", "told to stop")
    for line in lines(stream):
        said = {name: line[name] for name in ("job_id", "model_type", "data_split", "role", "round")}
        assert said == {
            "job_id": "job-1",
            "model_type": "tire_degradation",
            "data_split": "train",
            "role": "worker",
            "round": 7,
        }
        assert (line["num_workers"], line["worker_index"], line["attempt"]) == (4, 2, 3)
        assert re.fullmatch(r"projects/my-project/traces/[0-9a-f]{32}", str(line["logging.googleapis.com/trace"]))
    assert "secret" not in stream.getvalue()
    assert "the spec" not in stream.getvalue()


def test_all_pods_of_a_run_have_one_trace_and_runs_differ() -> None:
    chief, worker = (pod_fields("job-1", {**POD, "WORKER_INDEX": index}) for index in ("", "1"))
    other = pod_fields("job-2", POD)
    assert chief[TRACE] == worker[TRACE] != other[TRACE]
    assert "worker_index" not in chief


def test_a_pod_that_is_told_nothing_says_nothing_of_it() -> None:
    assert pod_fields("", {"WORKER_INDEX": "x"}) == {}
