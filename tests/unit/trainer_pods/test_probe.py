"""A probe from spec to outcome: what it tries, what fails it, and what it leaves."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from trainer.contract import (
    ContractError,
    Device,
    Engine,
    FailureReason,
    Outcome,
    OutputUris,
    TrainingFailure,
)
from trainer.contract.probe import FOLDER, ProbeSpec
from trainer.probe import probe as module
from trainer.probe.__main__ import main
from trainer.probe.probe import probe


def make_spec(folder: Path, **changes: Any) -> ProbeSpec:
    values: dict[str, Any] = {
        "job_id": "job",
        "model_type": "tire_degradation",
        "engine": Engine.XGBOOST,
        "device": Device.CPU,
        "table": "project.f1_staging.job",
        "split": "preflight",
        "rows": 2,
        "output": OutputUris(checkpoints=f"{folder.as_uri()}/checkpoints", artifacts=f"{folder.as_uri()}/artifacts"),
    }
    return ProbeSpec(**{**values, **changes})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []

    def read(table: str, columns: list[str], restriction: str) -> pa.Table:
        seen.append((table, restriction))
        return pa.table({name: [0, 1] for name in columns})

    monkeypatch.setattr(module, "read_table", read)
    return seen


def test_everything_is_tried_and_objects_are_left_for_airflow(tmp_path: Path, asked: list[tuple[str, str]]) -> None:
    lines = list(probe(make_spec(tmp_path)))
    assert lines[0] == "xgboost loads, on device cpu"
    assert lines[-1] == "2 rows read over the Storage Read API"
    assert asked == [("project.f1_staging.job", "split = 'preflight'")]
    left = [p.read_bytes() for p in tmp_path.rglob(f"{FOLDER}/*")]
    assert left == [b"first", b"first"]


@pytest.mark.usefixtures("asked")
def test_other_rows_than_were_written_are_no_success(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailure, match="2 rows of split 'preflight' were read, 3 were written") as caught:
        list(probe(make_spec(tmp_path, rows=3)))
    assert caught.value.reason is FailureReason.DATA_INVALID


class Replacing:
    """A store that lets a second writer win."""

    uri = "gs://bucket"

    def create(self, name: str, data: bytes) -> bool:
        return True


def test_a_store_that_lets_objects_be_replaced_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_store", lambda _uri: Replacing())
    with pytest.raises(TrainingFailure, match="was replaced although it may only be created") as caught:
        list(probe(make_spec(tmp_path)))
    assert caught.value.reason is FailureReason.CONFIG_INVALID


@pytest.mark.parametrize(("field", "value"), [("job_id", "No Label"), ("table", "no table"), ("rows", -1)])
def test_a_wrong_spec_names_its_field(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ContractError, match=field):
        make_spec(tmp_path, **{field: value})


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("rows", "code"), [(2, 0), (3, 65)])
def test_the_pod_ends_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rows: int, code: int
) -> None:
    said = tmp_path / "termination-log"
    monkeypatch.setenv("TRAINING_TERMINATION_LOG", str(said))
    monkeypatch.setenv("TRAINING_JOB_ID", "job")
    monkeypatch.setenv("PROBE_SPEC", make_spec(tmp_path, rows=rows).to_json())
    monkeypatch.setattr("trainer.probe.__main__.exit_within", lambda _code: None)
    assert main() == code
    outcome = Outcome.from_json(said.read_text())
    assert outcome.succeeded is (code == 0)
    assert "rows" in outcome.message
    messages = [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]
    assert messages[0] == "xgboost loads, on device cpu"


def test_without_a_spec_the_pod_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "termination-log"
    monkeypatch.setenv("TRAINING_TERMINATION_LOG", str(said))
    monkeypatch.delenv("PROBE_SPEC", raising=False)
    monkeypatch.setattr("trainer.probe.__main__.exit_within", lambda _code: None)
    assert main() == 78
    assert "PROBE_SPEC" in Outcome.from_json(said.read_text()).message
