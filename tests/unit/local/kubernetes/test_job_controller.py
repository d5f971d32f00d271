"""The Job controller decides by Kubernetes' rules; hours cost nothing, because time is an argument."""

from typing import Any

import pytest

from composer.local.kubernetes.jobs import INDEX, Decision, decide

NOW = 1_000_000.0


def job(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    base = {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 2}
    return {"spec": {**base, **spec}, "status": status or {}}


def pod(index: int, phase: str, code: int = 0, at: str = "1970-01-12T13:46:40Z", **status: Any) -> dict[str, Any]:
    ended = {"terminated": {"exitCode": code, "finishedAt": at}} if phase in ("Failed", "Succeeded") else {}
    return {
        "metadata": {"name": f"p-{index}-{phase}", "annotations": {INDEX: str(index)}},
        "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": ended}], **status},
    }


def reasons(decision: Decision) -> list[str]:
    return [f"{c['type']}:{c['reason']}" for c in decision.status.get("conditions", [])]


def test_one_pod_an_index() -> None:
    assert decide(job(), [], NOW, 10).create == [(0, 0), (1, 0), (2, 0)]


def test_parallelism_limits_how_many_run() -> None:
    assert decide(job(parallelism=2), [pod(0, "Running")], NOW, 10).create == [(1, 0)]


def test_a_failed_index_comes_back_after_its_own_back_off() -> None:
    pods = [pod(0, "Failed", 1), pod(1, "Running"), pod(2, "Running")]
    waiting = decide(job(), pods, NOW + 4, 10)
    assert waiting.create == []
    assert waiting.wake_s == pytest.approx(6)
    assert decide(job(), pods, NOW + 10, 10).create == [(0, 1)]


def test_the_back_off_doubles() -> None:
    pods = [pod(0, "Failed", 1), pod(0, "Failed", 1), pod(1, "Running"), pod(2, "Running")]
    assert decide(job(), pods, NOW + 15, 10).wake_s == pytest.approx(5)


def test_all_succeeded() -> None:
    decision = decide(job(), [pod(i, "Succeeded") for i in range(3)], NOW, 10)
    assert reasons(decision) == ["SuccessCriteriaMet:CompletionsReached", "Complete:CompletionsReached"]
    assert decision.status["completedIndexes"] == "0-2"
    assert decision.status["completionTime"]


def test_an_index_over_its_limit_fails_and_others_go_on() -> None:
    pods = [pod(0, "Failed", 1)] * 3 + [pod(1, "Running"), pod(2, "Succeeded")]
    decision = decide(job(maxFailedIndexes=1), pods, NOW + 999, 10)
    assert decision.status["failedIndexes"] == "0"
    assert decision.create == []
    assert reasons(decision) == []


def test_too_many_failed_indexes_end_the_job_and_its_pods() -> None:
    pods = [pod(0, "Failed", 1)] * 3 + [pod(1, "Failed", 1)] * 3 + [pod(2, "Running")]
    decision = decide(job(maxFailedIndexes=1), pods, NOW + 999, 10)
    assert reasons(decision) == ["FailureTarget:MaxFailedIndexesExceeded"]
    assert decision.delete == ["p-2-Running"]
    after = decide(job(maxFailedIndexes=1) | {"status": decision.status}, pods[:-1], NOW + 999, 10)
    assert reasons(after)[-1] == "Failed:MaxFailedIndexesExceeded"


POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [65, 77, 78]}},
    ]
}


def test_a_preempted_pod_costs_nothing() -> None:
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    pods = [pod(0, "Failed", 137, conditions=disrupted)] * 5 + [pod(1, "Running"), pod(2, "Running")]
    assert decide(job(podFailurePolicy=POLICY), pods, NOW + 9999, 10).create == [(0, 0)]


@pytest.mark.parametrize("code", [65, 77, 78])
def test_exit_codes_of_the_policy_fail_the_job(code: int) -> None:
    decision = decide(job(podFailurePolicy=POLICY), [pod(0, "Failed", code), pod(1, "Running")], NOW, 10)
    assert reasons(decision) == ["FailureTarget:PodFailurePolicy"]
    assert f"exit code {code}" in decision.status["conditions"][0]["message"]


def test_back_off_limit_of_a_plain_job() -> None:
    plain = {"spec": {"backoffLimit": 0, "completions": 1, "parallelism": 1}, "status": {}}
    failed = pod(0, "Failed", 1)
    failed["metadata"]["annotations"] = {}
    assert "Failed:BackoffLimitExceeded" in reasons(decide(plain, [failed], NOW, 10))


def test_suspended_means_no_pods() -> None:
    decision = decide(job(suspend=True), [pod(0, "Running")], NOW, 10)
    assert decision.delete == ["p-0-Running"]
    assert decision.create == ()
    resumed = decide(job(decision.status), [], NOW, 10)
    assert len(resumed.create) == 3


def test_the_deadline_ends_it() -> None:
    started = decide(job(activeDeadlineSeconds=60), [], NOW, 10).status
    decision = decide(job(started, activeDeadlineSeconds=60), [pod(0, "Running")], NOW + 60, 10)
    assert reasons(decision) == ["FailureTarget:DeadlineExceeded"]


def test_a_pod_that_is_being_deleted_is_replaced_when_it_is_gone() -> None:
    going = pod(0, "Running")
    going["metadata"]["deletionTimestamp"] = "x"
    others = [pod(1, "Running"), pod(2, "Running")]
    assert decide(job(podReplacementPolicy="Failed"), [going, *others], NOW, 10).create == []
    assert decide(job(), [going, *others], NOW, 10).create == [(0, 0)]
