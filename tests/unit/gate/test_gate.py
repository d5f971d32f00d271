"""The gate: who closes and opens it, what stops at it, and that no change is ever lost."""

import itertools
import threading
from pathlib import Path

import pytest

from f1_training.gate.gate import FOLDER, Change, Gate, GateEvent, GateState, readers
from trainer.contract import ContractError, FailureReason, TrainingFailure, read_catalogue

MODEL = "tire_degradation"
FAILED = Change(
    who="the validation of run r1", reason="1 of 40 checks failed: keys(train)", run_id="r1", report_uri="gs://r"
)
ANNA = Change(who="anna", reason="the tables are mended", run_id="manual")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    seconds = itertools.count()
    return Gate(tmp_path.as_uri(), now=lambda: f"2026-11-27T10:00:{next(seconds):02}Z")


def states(gate: Gate) -> list[GateState]:
    return [event.state for event in gate.history(MODEL)]


def test_a_gate_that_nobody_touched_is_open(gate: Gate) -> None:
    gate.require_open(MODEL)
    assert gate.newest(MODEL) is None


def test_a_closed_gate_says_who_when_why_where_the_report_is_and_how_to_open_it(gate: Gate) -> None:
    gate.close(MODEL, FAILED)
    with pytest.raises(TrainingFailure) as caught:
        gate.require_open(MODEL)
    assert caught.value.reason is FailureReason.DATA_INVALID
    for part in (MODEL, FAILED.who, FAILED.reason, FAILED.report_uri, "2026-11-27T10:00:00Z", "f1_training_gate"):
        assert part in str(caught.value)
    gate.require_open("another_model")


def test_opened_again_it_lets_runs_pass_and_remembers(gate: Gate) -> None:
    gate.close(MODEL, FAILED)
    event = gate.open(MODEL, ANNA)
    assert (event.number, event.who, event.reason) == (2, "anna", "the tables are mended")
    gate.require_open(MODEL)
    assert states(gate) == [GateState.CLOSED, GateState.OPEN]


def test_the_same_run_closes_it_once_and_another_with_its_own_report(gate: Gate) -> None:
    first = gate.close(MODEL, FAILED)
    assert gate.close(MODEL, FAILED) == first
    again = Change(who="the validation of run r2", reason="worse", run_id="r2", report_uri="gs://r2")
    gate.close(MODEL, again)
    assert [event.report_uri for event in gate.history(MODEL)] == ["gs://r", "gs://r2"]


def test_opening_what_is_open_changes_nothing(gate: Gate) -> None:
    gate.close(MODEL, FAILED)
    assert gate.open(MODEL, ANNA) == gate.open(MODEL, Change(who="ben", reason="me too"))
    assert states(gate) == [GateState.CLOSED, GateState.OPEN]


def test_two_changes_at_once_are_both_kept(gate: Gate, tmp_path: Path) -> None:
    barrier = threading.Barrier(4)

    def close(number: int) -> None:
        mine = Gate(tmp_path.as_uri())
        barrier.wait(10)
        mine.close(MODEL, Change(who=f"run {number}", reason="failed", run_id=str(number)))

    threads = [threading.Thread(target=close, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(event.who for event in gate.history(MODEL)) == [f"run {n}" for n in range(4)]
    assert [event.number for event in gate.history(MODEL)] == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"no json", b"\xff\xfe", b"{}", b'{"kind": "alias-event"}'])
def test_what_cannot_be_read_counts_as_closed(gate: Gate, tmp_path: Path, content: bytes) -> None:
    gate.close(MODEL, FAILED)
    gate.open(MODEL, ANNA)
    (tmp_path / FOLDER / MODEL / "000003.json").write_bytes(content)
    with pytest.raises(TrainingFailure, match="cannot be read, which counts as closed.*000003.json") as caught:
        gate.require_open(MODEL)
    assert caught.value.reason is FailureReason.DATA_INVALID


def test_storage_that_does_not_answer_lets_nobody_pass(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object, _prefix: str = "") -> list[str]:
        raise TimeoutError("no answer")

    monkeypatch.setattr("trainer.contract.objects.ObjectStore.list", refuse)
    with pytest.raises(TrainingFailure) as caught:
        gate.require_open(MODEL)
    assert caught.value.reason is FailureReason.NETWORK_TIMEOUT


@pytest.mark.parametrize(("who", "reason", "named"), [("", "why", "who"), ("anna", "", "reason")])
def test_nobody_changes_it_without_a_name_and_a_reason(gate: Gate, who: str, reason: str, named: str) -> None:
    with pytest.raises(ContractError, match=named):
        gate.close(MODEL, Change(who=who, reason=reason))
    assert gate.history(MODEL) == []


def test_events_are_documents_that_read_as_they_were_written(gate: Gate) -> None:
    event = gate.close(MODEL, FAILED)
    assert GateEvent.from_json(event.to_json()) == event


def test_a_table_s_readers_are_the_models_whose_splits_name_it() -> None:
    catalogue = read_catalogue()
    assert MODEL in readers(catalogue, ["train"])
    assert readers(catalogue, ["train_of_somebody"]) == []
