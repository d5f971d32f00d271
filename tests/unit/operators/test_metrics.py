"""What Airflow counts: jobs that are over, retries, jobs that wait; told to Airflow's metrics and to Cloud Monitoring."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from airflow.sdk.observability import stats

from f1_training.core import metrics
from f1_training.core.metrics import Reading, report
from f1_training.core.settings import Settings
from f1_training.kubernetes.reaping import queued
from f1_training.operators import default_args
from f1_training.operators.metrics import count_failure, count_success, failure_of, report_queued, retry_of
from tests.fakes.cloud_monitoring import CloudMonitoring
from tests.fakes.run_plan import make_plan, settings
from tests.unit.operators.test_alerting import raised
from tests.unit.operators.test_reaper import jobs
from trainer.contract import ContractError, FailureReason, TrainingFailure

pytestmark = pytest.mark.timeout(60)
FINISHED = {"model_type": "tire_degradation", "status": "failed", "reason": "WorkersLost"}


@pytest.fixture
def cloud() -> Iterator[CloudMonitoring]:
    server = CloudMonitoring()
    yield server
    server.kill()


@pytest.fixture
def deployed(cloud: CloudMonitoring) -> Settings:
    return settings(metrics={"exporters": ["cloud_monitoring"], "endpoint": cloud.endpoint})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """What Airflow's own metrics were told."""
    heard: list[tuple[str, float, dict[str, str]]] = []

    class Backend:
        def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: dict[str, str]) -> None:
            heard.append((stat, count, tags))

        def gauge(self, stat: str, value: float, rate: float = 1, delta: bool = False, *, tags: dict[str, str]) -> None:
            heard.append((stat, value, tags))

    monkeypatch.setattr("airflow.sdk._shared.observability.metrics.stats._backend", Backend())
    assert stats.Stats is not None
    return heard


def context(reason: FailureReason | None, task_id: str = "model.train.train", **task: Any) -> dict[str, Any]:
    error = raised(TrainingFailure(reason, "it failed")) if reason else ZeroDivisionError()
    return {
        "ti": SimpleNamespace(dag_id="f1_training", task_id=task_id),
        "task": SimpleNamespace(**task),
        "exception": error,
    }


def test_a_failure_that_is_final_is_a_job_that_is_over() -> None:
    plan = make_plan().to_xcom()
    made = failure_of(context(FailureReason.WORKERS_LOST, plan=plan))
    assert made == Reading(name="training.job.finished", value=1, labels=FINISHED)
    unknown = failure_of(context(None, plan=plan))
    assert unknown is not None
    assert unknown.labels["reason"] == "Bug"


def test_a_job_is_over_once() -> None:
    plan = make_plan().to_xcom()
    assert failure_of(context(FailureReason.WORKERS_LOST, "model.evaluate.evaluate", plan=plan)) is None
    assert failure_of(context(FailureReason.NETWORK_TIMEOUT, "model.serve.serve", plan=plan)) is None


def test_invalid_tables_count_whatever_the_dag() -> None:
    made = failure_of(context(FailureReason.DATA_INVALID, "check_tables"))
    assert made is not None
    assert made.labels == {"model_type": "all", "status": "failed", "reason": "DataInvalid"}


def test_only_attempts_at_training_that_said_why_are_retries() -> None:
    plan = make_plan().to_xcom()
    made = retry_of(context(FailureReason.CHIEF_LOST, plan=plan))
    labels = {"model_type": "tire_degradation", "failure_reason": "ChiefLost"}
    assert made == Reading(name="training.job.retry_count", value=1, labels=labels)
    assert retry_of(context(None, plan=plan)) is None
    assert retry_of(context(FailureReason.CHIEF_LOST, "model.evaluate.evaluate", plan=plan)) is None


def test_every_task_is_counted() -> None:
    made = default_args()
    assert count_failure in made["on_failure_callback"]
    assert made["on_retry_callback"].__name__ == "count_retry"


def test_counting_never_raises(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> Any:
        raise TrainingFailure(FailureReason.CONFIG_INVALID, "no Variable")

    monkeypatch.setattr("f1_training.operators.planning.deployed_settings", refuse)
    count_failure(context(FailureReason.BUG, plan=make_plan().to_xcom()))
    assert "could not be counted" in caplog.text


def test_a_model_that_is_trained_is_told_to_both(
    deployed: Settings, cloud: CloudMonitoring, told: list[tuple[str, float, dict[str, str]]]
) -> None:
    plan = make_plan(deployed)
    for _ in range(2):
        count_success(plan)
    labels = {"model_type": "tire_degradation", "status": "succeeded", "reason": "none"}
    assert told == 2 * [("training.job.finished", 1, labels)]
    series = [s for call in cloud.calls for s in call.time_series]
    assert [dict(s.metric.labels) for s in series] == [labels, labels]
    # Each is a series of its own: two processes cannot add to one sum.
    assert len({dict(s.resource.labels)["task_id"] for s in series}) == 2
    assert {dict(s.resource.labels)["job"] for s in series} == {plan.job_id}
    interval = series[0].points[0].interval
    assert interval.start_time < interval.end_time


def test_without_the_exporter_google_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, float, dict[str, str]]]
) -> None:
    monkeypatch.setattr(metrics, "connect", lambda _endpoint: pytest.fail("asked"))
    count_success(make_plan(settings(metrics={"exporters": ["prometheus"]})))
    assert len(told) == 1


@pytest.mark.parametrize("how", ["refuses", "is gone"])
def test_a_service_that_refuses_hides_nothing(
    deployed: Settings, cloud: CloudMonitoring, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    if how == "refuses":
        cloud.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
    else:
        cloud.kill()
    report(deployed, [Reading(name="training.jobs_queued", value=1)], "job")
    assert "tell_cloud_monitoring" in caplog.text


def test_a_reading_is_one_of_the_table() -> None:
    with pytest.raises(ContractError, match=r"training\.progress\.iterations_completed"):
        Reading(name="training.progress.iterations_completed", value=1)
    with pytest.raises(ContractError, match=r"training\.job\.retry_count"):
        Reading(name="training.job.retry_count", value=1, labels={"job_id": "x"})


def test_jobs_wait_until_a_pod_is_ready() -> None:
    chief, worker = jobs("google-cloud-3-workers")
    (evaluation,) = jobs("evaluation")

    def with_status(**status: Any) -> dict[str, Any]:
        return {**chief, "status": status}

    over = [{"type": "Complete", "status": "True"}]
    assert queued([chief, worker, evaluation]) == 2
    assert queued([with_status(active=1), with_status(active=1, ready=1), with_status(conditions=over)]) == 1
    assert queued(jobs("evaluation", deletionTimestamp="2026-11-24T02:59:00Z")) == 0


def test_nobody_counts_where_nobody_would_hear_it(deployed: Settings, cloud: CloudMonitoring) -> None:
    waiting = SimpleNamespace(jobs=lambda _namespace: jobs("evaluation"))
    report_queued(settings(), SimpleNamespace())  # type: ignore[arg-type]
    report_queued(deployed, SimpleNamespace())  # type: ignore[arg-type]
    assert cloud.calls == []
    report_queued(deployed, waiting)  # type: ignore[arg-type]
    assert [v.double_value for v in cloud.values("jobs_queued")] == [1]
