"""Where the chief's spec comes from, and what is said when it is wrong."""

from pathlib import Path

import pytest

from tests.unit.chief.fakes import spec
from trainer.chief.spec_source import read_spec
from trainer.contract import ContractError, Device, Engine, FailureReason, TrainingFailure, read_catalogue

SHORT = ["--model-type", "tire_degradation", "--data-split", "train", "--output-uri", "gs://bucket/models/"]
TABLE = ["--snapshot", "p.staging.tire"]


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def count_rows(table: str, splits: list[str], logical_shards: int) -> dict[str, tuple[int, ...]]:
        assert table == "p.staging.tire"
        return {split: tuple(range(logical_shards)) for split in splits}

    monkeypatch.setattr("trainer.data.count_rows", count_rows, raising=False)


def test_the_environment_holds_the_whole_spec(tmp_path: Path) -> None:
    wanted = spec(tmp_path)
    assert read_spec([], {"TRAINING_SPEC": wanted.to_json()}) == wanted


def test_a_document_is_read_from_a_path_or_a_uri(tmp_path: Path) -> None:
    wanted = spec(tmp_path)
    path = tmp_path / "spec.json"
    path.write_text(wanted.to_json())
    assert read_spec(["--spec", str(path)], {}) == wanted
    assert read_spec(["--spec", path.as_uri()], {}) == wanted
    with pytest.raises(TrainingFailure, match=r"absent.json: there is no such document"):
        read_spec(["--spec", str(tmp_path / "absent.json")], {})


def test_the_shorthand_names_a_catalogue_model() -> None:
    got = read_spec([*SHORT, *TABLE], {"TRAINING_JOB_ID": "tire-1", "TOTAL_WORKERS": "3"})
    entry = read_catalogue().entry("tire_degradation")
    assert (got.job_id, got.num_workers, got.features, got.rounds) == ("tire-1", 3, entry.features, entry.rounds)
    assert got.output.checkpoints == "gs://bucket/models/tire-1/checkpoints"
    assert got.output.artifacts == "gs://bucket/models/tire-1/artifacts"
    assert got.snapshot.total("train") == sum(range(entry.logical_shards))


def test_the_shorthand_may_change_engine_device_rounds_and_workers() -> None:
    flags = ["--engine", "lightgbm", "--device", "gpu", "--rounds", "7", "--num-workers", "1", "--job-id", "j"]
    got = read_spec([*SHORT, *TABLE, *flags], {})
    assert (got.engine, got.device, got.rounds, got.num_workers) == (Engine.LIGHTGBM, Device.GPU, 7, 1)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "--model-type, --output-uri, --snapshot, --job-id or TRAINING_JOB_ID"),
        (SHORT, "--snapshot"),
        ([*SHORT, *TABLE], "TRAINING_JOB_ID"),
        ([*SHORT, *TABLE, "--job-id", "j", "--num-workers", "x"], "--num-workers"),
        ([*SHORT, *TABLE, "--job-id", "j", "--nonsense"], "--nonsense"),
        (["--model-type", "nope", *SHORT[2:], *TABLE, "--job-id", "j"], "unknown model type 'nope'"),
    ],
)
def test_what_the_shorthand_lacks_is_asked_for_by_name(flags: list[str], named: str) -> None:
    with pytest.raises(TrainingFailure, match=named) as caught:
        read_spec(flags, {})
    assert caught.value.reason is FailureReason.CONFIG_INVALID


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--engine", "catboost"], "engine"),
        (["--device", "abacus"], "device"),
        (["--num-workers", "11"], "num_workers"),
        (["--num-workers", "0"], "num_workers"),
        (["--rounds", "-1"], "rounds"),
        (["--snapshot", "nonsense"], "table"),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(flags: list[str], field: str) -> None:
    with pytest.raises(ContractError) as caught:
        read_spec([*SHORT, *TABLE, "--job-id", "j", *flags], {})
    assert caught.value.field == field


@pytest.mark.parametrize(("name", "value"), [("TRAINING_JOB_ID", "other"), ("TOTAL_WORKERS", "2")])
def test_an_environment_that_contradicts_the_spec_is_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(TrainingFailure, match=name):
        read_spec([], {"TRAINING_SPEC": spec(tmp_path).to_json(), name: value})
