"""The tasks of f1_data that decide without a warehouse: what is announced, what is refused before anything is read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from f1_training.core.results import Check, CheckResult
from f1_training.core.settings import Settings
from f1_training.data.good import Records
from f1_training.gate.gate import Gate, GateState
from f1_training.operators import ASSETS, AnnounceOperator, IngestOperator
from f1_training.operators.data import DataOperator
from f1_training.operators.reports import in_browser
from tests.fakes.run_plan import settings
from trainer.contract import TrainingFailure, read_catalogue

STATISTICS = {
    name: {"rows": 9, "groups": 2, "newest": {"season": "2026"}, "checksum": 5, "histograms": {}}
    for name in ("train", "validation", "test")
}


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = settings(f"file://{tmp_path}")
    monkeypatch.setattr("f1_training.operators.data.deployed_settings", lambda: made)
    return made


def announce(changed: list[str], announce: bool = True) -> dict[Any, Any]:
    events = {asset: SimpleNamespace(extra=None) for asset in ASSETS}
    operator = AnnounceOperator(task_id="announce", changed=changed, statistics=STATISTICS)
    run = SimpleNamespace(run_id="monday")
    operator.execute({"params": {"announce": announce}, "outlet_events": events, "dag_run": run})
    return events


def test_new_tables_are_announced_with_what_they_are_like() -> None:
    for event in announce(["train"]).values():
        assert event.extra == {"rows": 9, "groups": 2, "newest": {"season": "2026"}, "checksum": 5, "run_id": "monday"}


@pytest.mark.parametrize(
    ("changed", "wanted", "said"), [([], True, "are what they were"), (["train"], False, "the Param announce is off")]
)
def test_nothing_new_starts_no_training(changed: list[str], wanted: bool, said: str) -> None:
    with pytest.raises(AirflowSkipException, match=said):
        announce(changed, wanted)


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "source is empty, and so is data.landing in the Variable f1_training; examples: gs://"),
        ("laps.csv", "source 'laps.csv' is unknown"),
        ("file:///no/such/folder", "holds no file of a table"),
    ],
)
def test_a_source_that_cannot_be_is_refused(source: str, said: str) -> None:
    context = {"params": {"source": source, "replace": False}, "dag_run": SimpleNamespace(run_id="monday")}
    with pytest.raises(AirflowFailException, match=f"ConfigInvalid: .*{said}"):
        IngestOperator(task_id="ingest").execute(context)


def result(*, passed: bool) -> CheckResult:
    return CheckResult(check=Check.RANGE, split="laps", column="lap_time_ms", passed=passed, value=3, expected="x")


def test_a_failed_check_closes_every_reader_s_gate_and_is_kept(deployed: Settings) -> None:
    operator = DataOperator(task_id="validate")
    context = {"dag_run": SimpleNamespace(run_id="monday")}
    with pytest.raises(TrainingFailure, match=r"run monday: 1 of 2 checks failed: range\(laps.lap_time_ms\)"):
        operator.refuse(deployed, [result(passed=True), result(passed=False)], context, stem="checks", facts={})
    gate = Gate(deployed.uris.models)
    events = {model: gate.newest(model) for model in read_catalogue().entries}
    assert {model for model, event in events.items() if event is None} == {"driving_style"}, "it reads no laps"
    for event in filter(None, events.values()):
        assert (event.state, event.run_id, event.report_uri) == (GateState.CLOSED, "monday", operator.report_uri)
    with pytest.raises(TrainingFailure, match="the data of run monday"):
        Records(deployed.uris.artifacts).require_passed()
    assert Path(operator.report_uri.removeprefix("file://")).exists()


def test_data_that_passes_leaves_the_gates_as_they_are(deployed: Settings) -> None:
    operator = DataOperator(task_id="validate")
    context = {"dag_run": SimpleNamespace(run_id="monday")}
    report = operator.refuse(deployed, [result(passed=True)], context, stem="checks", facts={"source": "simulator"})
    assert report["passed"] is True
    assert Gate(deployed.uris.models).newest("tire_degradation") is None
    Records(deployed.uris.artifacts).require_passed()


def test_a_report_in_a_bucket_has_an_address_for_browsers() -> None:
    assert in_browser("gs://bucket/run/checks.html") == "https://storage.cloud.google.com/bucket/run/checks.html"
    assert in_browser("file:///x/checks.html") == "file:///x/checks.html"
