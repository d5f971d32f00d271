"""Damaged data, from the first failed run to the approval, on a real Airflow: nobody trains on it in between."""

import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from composer.local import airflow_server, laps
from f1_training.gate.gate import Change, Gate, GateState
from tests import waiting
from tests.fakes import laps_archive
from tests.fakes.laps_archive import changed, in_race
from tests.fakes.receiver import Received, http_receiver
from tests.integration import browser, prometheus
from tests.integration.prometheus import Prometheus
from tests.integration.stack_up import Up, command, up

__all__ = ["up"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MODEL, STEP_S = "tire_degradation", 90.0
ASKED = f"closed__{MODEL}__damaged"
eventually = functools.partial(waiting.eventually, within_s=STEP_S, every_s=1.0)


@pytest.fixture(scope="module", autouse=True)
def receiver() -> Iterator[Received]:
    """The data team's Slack; before the stack is up, which is told of it."""
    with http_receiver() as received, pytest.MonkeyPatch.context() as patch:
        routes = {"data": [{"kind": "slack", "conn_id": "slack_data"}]}
        patch.setenv("F1_SETTINGS", json.dumps({"alerts": {"routes": routes}}))
        connection = {"conn_type": "slackwebhook", "host": received.url, "password": "T0/secret"}
        patch.setenv("AIRFLOW_CONN_SLACK_DATA", json.dumps(connection))
        yield received


@pytest.fixture
def warehouse(up: Up) -> bigquery.Client:
    return laps.emulator_client(up.info.bigquery)


@pytest.fixture
def damaged(warehouse: bigquery.Client) -> Iterator[Callable[[], None]]:
    """Laps of the validation season are there twice, until the returned function mends it."""
    table = f"{warehouse.project}.f1_strategy.validation"
    whole = warehouse.query(f"SELECT * FROM `{table}`").result().to_arrow(create_bqstorage_client=False)

    def write(sql: str) -> None:
        config = bigquery.QueryJobConfig(destination=table, write_disposition="WRITE_TRUNCATE")
        warehouse.query(sql, job_config=config).result(timeout=60)

    write(f"SELECT * FROM `{table}` UNION ALL SELECT * FROM `{table}`")

    def mend() -> None:
        write(f"SELECT DISTINCT * FROM `{table}`")
        assert warehouse.get_table(table).num_rows == whole.num_rows

    yield mend
    mend()


def start(up: Up, run_id: str, dag_id: str = "f1_training", **conf: Any) -> None:
    up.api.call("PATCH", f"/dags/{dag_id}?update_mask=is_paused", {"is_paused": False})
    up.api.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "dag_run_id": run_id, "conf": conf})


def ended(up: Up, run_id: str, dag_id: str = "f1_training") -> dict[str, str]:
    """State of every task by its last name, once the run is over; the run's own as ``run``."""

    def over() -> str | None:
        state = (up.api.dag_run(dag_id, run_id) or {}).get("state")
        return state if state in ("success", "failed") else None

    state = eventually(over, f"{run_id} ends")
    tasks = up.api.task_instances(dag_id, run_id)
    return {**{t["task_id"].rpartition(".")[2]: t["state"] for t in tasks}, "run": state}


def log_of(up: Up, run_id: str, name: str) -> str:
    (task,) = (t for t in up.api.task_instances("f1_training", run_id) if t["task_id"].endswith(f".{name}"))
    return up.api.task_log("f1_training", run_id, task)


@pytest.mark.browser
@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
def test_damaged_data_closes_the_gate_until_somebody_approves_and_the_data_passes(
    up: Up, damaged: Callable[[], None], tmp_path: Path, receiver: Received
) -> None:
    conf = {"model_type": MODEL, "num_workers": 1, "rounds": 10}
    start(up, "damaged", **conf)
    first = ended(up, "damaged")
    assert (first["run"], first["validate"], first["train"]) == ("failed", "failed", "upstream_failed")
    gate = Gate(f"{up.places.storage_uri}/models")
    closed = gate.newest(MODEL)
    assert closed is not None
    assert (closed.state, closed.run_id) == (GateState.CLOSED, "damaged")
    assert "keys(validation" in closed.reason
    assert len(up.api.attempts("f1_training", "damaged", {"task_id": "model.validate.validate", "map_index": 0})) == 0

    ((_, told),) = receiver.posts
    text = told["blocks"][0]["text"]["text"]
    assert "DataInvalid: validate of tire_degradation failed" in text
    assert closed.report_uri in text
    assert "keys(validation" in text

    start(up, "next", **conf)
    second = ended(up, "next")
    assert (second["gate"], second["snapshot"], second["ask_to_open"]) == ("failed", "upstream_failed", "skipped")
    assert "was closed at" in log_of(up, "next", "gate")

    asking = eventually(lambda: _waiting(up), "an approval is asked for")
    assert closed.reason in asking["body"]
    damaged()
    with browser.airflow_page(up.info.airflow, tmp_path / "profile") as page:
        try:
            page.log_in("admin", airflow_server.password(up.places))
            page.approve("f1_training_gate", ASKED, "approve")
        finally:
            page.screenshot(up.places.folder("screenshots") / "approval.png")
    assert ended(up, ASKED, "f1_training_gate")["open"] == "success"
    opened = gate.newest(MODEL)
    assert opened is not None
    assert (opened.state, opened.who, opened.reason) == (GateState.OPEN, "admin", closed.reason)

    start(up, "after", **conf)
    assert ended(up, "after")["run"] == "success"


def _waiting(up: Up) -> Any:
    found = up.api.call("GET", "/dags/~/dagRuns/~/hitlDetails?dag_id_pattern=f1_training_gate&response_received=false")
    return next((d for d in found["hitl_details"] if d["task_instance"]["dag_run_id"] == ASKED), None)


@pytest.mark.usefixtures("damaged")
def test_data_that_still_fails_keeps_it_closed_unless_forced(up: Up) -> None:
    gate = Gate(f"{up.places.storage_uri}/models")
    done = command("composer.gate", "--action", "close", "--reason", "laps look odd", environment=up.environment)
    assert done.returncode == 0, done.stderr
    closed = gate.newest(MODEL)
    assert closed is not None
    assert (closed.who, closed.reason) == ("admin", "laps look odd")

    done = command("composer.gate", "--action", "open", "--reason", "try", environment=up.environment)
    assert done.returncode == os.EX_SOFTWARE
    assert "model.validate failed" in done.stderr
    assert "checks failed: keys(validation" in done.stderr
    assert gate.newest(MODEL) == closed

    words = ("--action", "open", "--reason", "known", "--force", "1")
    done = command("composer.gate", *words, environment=up.environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(f"{MODEL} open by admin: known")
    assert [e.state.value for e in gate.history(MODEL)][-2:] == ["closed", "open"]


@prometheus.needed
@pytest.mark.usefixtures("damaged")
def test_checks_that_failed_fire_their_alert_at_once(up: Up) -> None:
    watch, name = Prometheus(up.info.prometheus), "data-validation-failure"
    before = watch.firing(name, model_type=MODEL)
    start(up, "alerted", model_type=MODEL, num_workers=1, rounds=10)
    assert ended(up, "alerted")["validate"] == "failed"

    def fires() -> bool:
        now = watch.firing(name, model_type=MODEL)
        return now is not None and float(now["value"]) > (float(before["value"]) if before else 0)

    # Told when the task ends, scraped and looked at every 5 s.
    eventually(fires, "it fires")
    Gate(f"{up.places.storage_uri}/models").open(MODEL, Change(who="a test", reason="over"))


def _asset(up: Up, name: str) -> int:
    (found,) = (a for a in up.api.call("GET", "/assets?limit=100")["assets"] if a["name"] == name)
    return int(found["id"])


def landed(folder: Path, table: pa.Table) -> str:
    folder.mkdir(exist_ok=True)
    pq.write_table(table, folder / "laps.parquet")
    return f"file://{folder}"


def test_damaged_laps_never_reach_the_tables_and_mended_ones_start_a_training(
    up: Up, warehouse: bigquery.Client, tmp_path: Path, receiver: Received
) -> None:
    train = f"{warehouse.project}.f1_strategy.train"
    before, told = warehouse.get_table(train).num_rows, len(receiver.posts)
    good = laps_archive.simulated()["laps"]
    bad = changed(good, "lap_time_ms", in_race(good), pc.divide(good["lap_time_ms"], 1000))
    conf = {"source": landed(tmp_path / "landing", bad), "replace": True}
    up.api.call("PATCH", "/dags/f1_training?update_mask=is_paused", {"is_paused": False})

    start(up, "bad", "f1_data", **conf)
    tasks = ended(up, "bad", "f1_data")
    assert (tasks["validate"], tasks["publish"], tasks["announce"]) == ("failed", "upstream_failed", "upstream_failed")
    assert warehouse.get_table(train).num_rows == before
    gate = Gate(f"{up.places.storage_uri}/models")
    closed = gate.newest(MODEL)
    assert closed is not None
    assert (closed.state, closed.run_id) == (GateState.CLOSED, "bad")
    assert "range(laps.lap_time_ms)" in closed.reason
    states = up.api.call("GET", f"/assets/{_asset(up, 'f1_training.gates')}/state-store")
    assert "laps.lap_time_ms" in json.dumps(states)
    links = up.api.call("GET", "/dags/f1_data/dagRuns/bad/taskInstances/validate/links")["extra_links"]
    assert links == {"Data checks": closed.report_uri}
    page = Path(closed.report_uri.removeprefix("file://")).read_text()
    assert "range(laps.lap_time_ms)" in page
    text = receiver.posts[told][1]["blocks"][0]["text"]["text"]
    assert "DataInvalid: validate failed in f1_data" in text
    assert closed.report_uri in text

    landed(tmp_path / "landing", good)
    start(up, "good", "f1_data", **conf)
    tasks = ended(up, "good", "f1_data")
    assert (tasks["run"], tasks["announce"], tasks["ask_to_open"]) == ("success", "success", "skipped")
    assert warehouse.get_table(train).num_rows == pc.sum(pc.equal(good["split"], "train")).as_py()

    def triggered() -> Any:
        return next((r for r in up.api.dag_runs("f1_training", 5) if r["run_type"] == "asset_triggered"), None)

    # The new tables start a training by themselves; the gate is still closed, so it gets no further.
    run_id = eventually(triggered, "the new tables start a training")["dag_run_id"]
    stopped = ended(up, run_id)
    assert (stopped["run"], stopped["gate"], stopped["snapshot"]) == ("failed", "failed", "upstream_failed")
    gate.open(MODEL, Change(who="a test", reason="over"))

    start(up, "again", "f1_data", **conf)
    tasks = ended(up, "again", "f1_data")
    assert (tasks["run"], tasks["publish"], tasks["announce"]) == ("success", "success", "skipped")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--action", "shut"), "ACTION is 'shut'; one of open, close, history"),
        (("--action", "open"), "REASON is empty; say why"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_started(words: tuple[str, ...], said: str) -> None:
    done = command("composer.gate", *words, environment={**os.environ, "PYTHONPATH": f".{os.pathsep}plugins"})
    assert (done.returncode, done.stdout) == (os.EX_USAGE, "")
    assert said in done.stderr
