"""The gate's tasks: what stops, what closes, what asks, and what each says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from f1_training.core.plan import RunPlan
from f1_training.core.results import Check, CheckResult
from f1_training.core.settings import Settings
from f1_training.gate.gate import Change, Gate, GateState
from f1_training.operators import AskToOpenOperator, ChangeGateOperator, DataChecksOperator, GateOperator, models_asked
from f1_training.operators.gate import GATES, told
from tests.fakes.run_plan import RUN, make_plan, settings
from trainer.contract import TrainingFailure, read_catalogue

MODEL = "tire_degradation"


@pytest.fixture
def deployed(tmp_path: Path) -> Settings:
    return settings(f"file://{tmp_path}")


@pytest.fixture
def plan(deployed: Settings) -> RunPlan:
    return make_plan(deployed)


@pytest.fixture
def gate(plan: RunPlan) -> Gate:
    return Gate(plan.settings.uris.models)


def result(split: str, *, passed: bool) -> CheckResult:
    return CheckResult(check=Check.KEYS, split=split, passed=passed, value=3, expected="0 rows")


def checks(plan: RunPlan, **options: Any) -> DataChecksOperator:
    return DataChecksOperator(task_id="validate", plan=plan.to_xcom(), snapshots={}, **options)


def test_a_run_stops_at_a_closed_gate_without_a_retry(plan: RunPlan, gate: Gate) -> None:
    task = GateOperator(task_id="gate", plan=plan.to_xcom())
    task.execute({})
    gate.close(MODEL, Change(who="anna", reason="wrong laps"))
    with pytest.raises(
        AirflowFailException, match="^DataInvalid: the gate of tire_degradation was closed .* wrong laps"
    ):
        task.execute({})


class Shown(dict[str, str]):
    """An Asset's state."""

    def set(self, key: str, value: str) -> None:
        self[key] = value


def test_checks_that_fail_close_the_gate_of_every_reader_and_name_the_worst(plan: RunPlan, gate: Gate) -> None:
    failed = [result(split, passed=False) for split in ("train", "validation", "test", "train")]
    operator = checks(plan)
    operator.report_uri = "gs://artifacts/job/checks.json"
    shown: dict[Any, Any] = {GATES: Shown()}
    operator._close_gate(plan, [*failed, result("train", passed=True)], {"asset_state_store": shown})
    events = {model: gate.newest(model) for model in read_catalogue().entries}
    assert {model for model, event in events.items() if event is not None} == {"next_lap", "tire_degradation"}
    for model, event in events.items():
        if event is None:
            continue
        assert event.state is GateState.CLOSED
        assert event.reason == "4 of 5 checks failed: keys(train), keys(validation), keys(test) and more"
        assert event.report_uri == "gs://artifacts/job/checks.json"
        assert (event.who, event.run_id) == (f"the validation of run {plan.run_id}", plan.run_id)
        assert shown[GATES][model] == told(event)


def test_checks_that_pass_leave_it_as_it_is(plan: RunPlan, gate: Gate) -> None:
    checks(plan)._close_gate(plan, [result("train", passed=True)], {})
    assert gate.newest(MODEL) is None


def test_a_table_of_somebody_s_own_closes_nobody_s_gate(plan: RunPlan, gate: Gate) -> None:
    checks(plan)._close_gate(plan, [result("train_of_mine", passed=False)], {})
    assert gate.newest(MODEL) is None


def ask(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(
        "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator.execute", lambda _s, _c: None
    )
    operator = AskToOpenOperator(task_id="ask", plan=plan.to_xcom())
    operator.execute({})
    return operator


def test_the_run_that_closed_it_asks_for_an_approval_once(
    plan: RunPlan, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.close(MODEL, Change(who="it", reason="1 of 2 checks failed", run_id=plan.run_id))
    asked = ask(plan, monkeypatch)
    assert asked.trigger_run_id == "closed__tire_degradation__manual__1"
    assert asked.conf == {"action": "ask", "model_type": MODEL, "reason": "1 of 2 checks failed"}
    assert asked.skip_when_already_exists


@pytest.mark.parametrize("run_id", [None, "another"])
def test_a_run_that_did_not_close_it_does_not_ask(
    plan: RunPlan, gate: Gate, monkeypatch: pytest.MonkeyPatch, run_id: str | None
) -> None:
    if run_id:
        gate.close(MODEL, Change(who="it", reason="failed", run_id=run_id))
    with pytest.raises(AirflowSkipException):
        ask(plan, monkeypatch)


def test_a_person_opens_and_closes_it(deployed: Settings, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f1_training.operators.gate.deployed_settings", lambda: deployed)
    context = {"dag_run": SimpleNamespace(run_id=RUN.run_id)}
    for state in ("closed", "open"):
        operator = ChangeGateOperator(task_id=state, models=[MODEL], state=state, who="anna", reason="because")
        (event,) = operator.execute(context)
        assert (event["state"], event["who"], event["run_id"]) == (state, "anna", RUN.run_id)
    assert [e.state.value for e in gate.history(MODEL)] == ["closed", "open"]


def test_the_form_s_model_is_one_or_all_of_the_catalogue() -> None:
    assert models_asked({"model_type": MODEL}) == [MODEL]
    assert models_asked({"model_type": "all"}) == sorted(read_catalogue().entries)
    with pytest.raises(TrainingFailure, match="'nope' is not in the catalogue; it has: brake_bias, "):
        models_asked({"model_type": "nope"})
