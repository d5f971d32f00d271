"""What an attempt goes through, on the stand-in or on any cluster: ``KUBECONFIG=... F1_TEST_IMAGE=... make test-cluster``.

Our own manifests, submitted, observed and deleted by our own client; only the pods' programs are other ones.
"""

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes import client

from f1_training.kubernetes.scheduling import SILENT_AFTER
from f1_training.kubernetes.status import Phase, job_status
from tests.contract.kubernetes.place import FOREVER, Attempt, Place, ends, place_to_test, says
from trainer.contract import FailureReason, TrainingFailure

pytestmark = pytest.mark.timeout(900)
UNREACHABLE = "node.kubernetes.io/unreachable"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place_to_test(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def attempt(place: Place) -> Iterator[Attempt]:
    made = place.attempt()
    yield made
    made.delete()


def test_an_attempt_succeeds_and_its_log_is_followed(place: Place, attempt: Attempt) -> None:
    talk = "".join(f'print(\'{{"message": "round {n}"}}\', flush=True)\n' for n in range(3))
    attempt.submit(talk + textwrap.dedent(says(None, attempt.job_id, 0)), ends(0))
    follow, said = attempt.follower(), []
    status = place.eventually(lambda: _over(follow, said), "it ends")
    assert (status.phase, status.outcome.last_round) == (Phase.SUCCEEDED, 60)
    assert [text for text in said if text.startswith("round")] == ["round 0", "round 1", "round 2"]


def _over(follow: object, said: list[str]) -> object:
    look = follow.look()  # type: ignore[attr-defined]
    said.extend(line.text for line in look.lines)
    return look.status if look.status.ended else None


def test_who_submits_again_adopts(place: Place, attempt: Attempt) -> None:
    attempt.submit()
    first = attempt.running("chief")
    attempt.submit()
    job = place.batch.read_namespaced_job(attempt.ref.job, place.namespace)
    assert [p.metadata.name for p in attempt.pods("chief")] == [first.metadata.name]
    assert job.spec.suspend is False
    assert len(place.batch.list_namespaced_job(place.namespace, label_selector=attempt.ref.selector).items) == 2


def test_a_submission_that_was_cut_off_is_finished_by_the_next(place: Place, attempt: Attempt) -> None:
    whole = attempt.bundle()
    place.batch.create_namespaced_job(place.namespace, whole.main)
    assert attempt.status().phase is Phase.PENDING
    assert attempt.pods("chief") == []
    place.cluster.submit(whole)
    attempt.running("chief")
    attempt.running("worker", 1)


def test_another_job_of_the_same_name_is_left_alone(place: Place, attempt: Attempt) -> None:
    whole = attempt.bundle()
    whole.main["metadata"]["annotations"]["f1-training/spec-sha256"] = "another"
    place.batch.create_namespaced_job(place.namespace, whole.main)
    with pytest.raises(TrainingFailure, match="exists with another spec; delete it") as caught:
        attempt.submit()
    assert caught.value.reason is FailureReason.CONFIG_INVALID


def test_cancelling_leaves_nothing(place: Place, attempt: Attempt) -> None:
    attempt.submit()
    attempt.running("chief")
    attempt.running("worker", 0)
    assert len(place.left(attempt.job_id)) == 7  # 2 Jobs, 3 pods, Service, Secret
    attempt.delete()
    place.eventually(lambda: not place.left(attempt.job_id), "everything is gone")
    attempt.delete()  # and again, as a task does that is killed twice


def test_a_lost_worker_is_replaced_by_its_index(place: Place, attempt: Attempt) -> None:
    attempt.submit(worker=_dies_once(137))
    assert attempt.running("worker", 0)
    first = place.eventually(
        lambda: next((p for p in attempt.pods("worker", 1) if p.status.phase == "Failed"), None), "it dies"
    )
    attempt.running("worker", 1, but=first.metadata.name)
    assert first.status.container_statuses[0].state.terminated.exit_code == 137
    assert attempt.status().phase is Phase.RUNNING


def _dies_once(code: int) -> str:
    first = 'os.environ["WORKER_INDEX"] == "1" and os.environ["FAILURES"] in ("", "0")'
    return f"import os\nif {first}: os._exit({code})\n" + textwrap.dedent(FOREVER)


def test_a_worker_that_fails_for_good_fails_its_job_and_the_chief_decides(place: Place, attempt: Attempt) -> None:
    attempt.submit(worker=ends(1))

    def failed() -> bool:
        job = place.batch.read_namespaced_job(attempt.ref.worker_job, place.namespace)
        return "MaxFailedIndexesExceeded" in {c.reason for c in job.status.conditions or []}

    if place.stand_in:  # on a cluster the back-off of three retries takes minutes
        place.eventually(failed, "the workers' Job fails")
        assert attempt.status().phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (65, FailureReason.DATA_INVALID),
        (77, FailureReason.PERMISSION_DENIED),
        (78, FailureReason.CONFIG_INVALID),
        (137, FailureReason.CHIEF_LOST),
        (1, FailureReason.CHIEF_LOST),
    ],
)
def test_a_chief_s_exit_code_alone_is_a_reason(attempt: Attempt, code: int, reason: FailureReason) -> None:
    attempt.submit(ends(code))
    assert attempt.reason() is reason
    assert len(attempt.pods("chief")) == 1, "nobody replaces a chief"


def test_a_chief_s_own_word_counts(attempt: Attempt) -> None:
    attempt.submit(says(FailureReason.STORAGE_FULL, attempt.job_id, 74))
    outcome = attempt.ended().outcome
    assert outcome is not None
    assert (outcome.reason, outcome.message) == (FailureReason.STORAGE_FULL, "as it says")


@pytest.mark.parametrize(
    ("code", "reason"),
    [(65, FailureReason.DATA_INVALID), (77, FailureReason.PERMISSION_DENIED), (78, FailureReason.CONFIG_INVALID)],
)
def test_a_worker_s_final_exit_code_ends_the_attempt(attempt: Attempt, code: int, reason: FailureReason) -> None:
    attempt.submit(worker=ends(code))
    assert attempt.reason() is reason


def test_a_deleted_chief_pod_is_a_lost_chief(place: Place, attempt: Attempt) -> None:
    attempt.submit()
    place.core.delete_namespaced_pod(attempt.running("chief").metadata.name, place.namespace)
    # Whoever looks while the pod is still there sees exit code 75, which says that it was told to stop.
    assert attempt.reason() in (FailureReason.CHIEF_LOST, FailureReason.PREEMPTED)
    assert len(attempt.pods("chief")) <= 1, "nobody replaces a chief"


@pytest.mark.parametrize("role", ["chief", "worker"])
def test_the_first_pod_over_its_memory_limit_ends_the_attempt(attempt: Attempt, role: str) -> None:
    program = "x = bytearray(200 << 20)\n" + textwrap.dedent(FOREVER)
    attempt.submit(**{role: program})
    assert attempt.reason() is FailureReason.OUT_OF_MEMORY


def test_a_pod_that_no_node_takes_is_waited_for_within_the_grace(place: Place, attempt: Attempt) -> None:
    attempt.submit(nodeSelector={"f1-training.test/nowhere": "1"})
    place.eventually(lambda: "unschedulable" in attempt.status().waiting_for, "nobody takes it")
    assert attempt.status().phase is Phase.PENDING
    late = attempt.status(grace_s=0.0)
    assert late.outcome is not None
    assert late.outcome.reason is FailureReason.RESOURCE_EXHAUSTED


def test_an_image_that_cannot_be_pulled_ends_the_attempt(attempt: Attempt) -> None:
    attempt.submit(image="registry.invalid/f1-training/does-not-exist:1")
    assert attempt.reason() is FailureReason.RESOURCE_EXHAUSTED
    outcome = attempt.status().outcome
    assert outcome is not None
    assert "ImagePullBackOff" in outcome.message


def test_a_preempted_worker_is_replaced_for_free(place: Place, attempt: Attempt) -> None:
    attempt.submit()
    first = attempt.running("worker", 1)
    evict(place, first)
    attempt.running("worker", 1, but=first.metadata.name)
    assert attempt.running("chief")
    job = place.batch.read_namespaced_job(attempt.ref.worker_job, place.namespace)
    assert not job.status.failed_indexes
    replacement = attempt.running("worker", 1, but=first.metadata.name)
    failures = replacement.metadata.annotations.get("batch.kubernetes.io/job-index-failure-count")
    assert failures in (None, "0")


def test_a_preempted_chief_is_told_from_one_that_failed(place: Place, attempt: Attempt) -> None:
    attempt.submit()
    evict(place, attempt.running("chief"))
    assert attempt.reason() is FailureReason.PREEMPTED


def evict(place: Place, pod: client.V1Pod) -> None:
    name = pod.metadata.name
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=place.namespace))
    place.core.create_namespaced_pod_eviction(name, place.namespace, body)


def test_a_worker_whose_node_is_silent_is_replaced(place: Place, attempt: Attempt) -> None:
    if not place.stand_in:
        pytest.skip("no node of a real cluster is cut off here")
    tolerations = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]
    attempt.submit(tolerations=tolerations)
    chief, worker = attempt.running("chief"), attempt.running("worker", 0)
    other = attempt.running("worker", 1)
    lost = worker if worker.spec.node_name != chief.spec.node_name else other
    assert lost.spec.node_name != chief.spec.node_name
    place.core.patch_node(lost.spec.node_name, {"spec": {"taints": [{"key": UNREACHABLE, "effect": "NoExecute"}]}})
    try:
        name = lost.metadata.name
        place.eventually(
            lambda: place.core.read_namespaced_pod(name, place.namespace).metadata.deletion_timestamp, "it is given up"
        )
        index = int(lost.metadata.labels["batch.kubernetes.io/job-completion-index"])
        follow = attempt.follower()
        follow.look()
        assert [p.metadata.name for p in attempt.pods("worker", index)] == [name], "its kubelet may still answer"
        follow.now = lambda: datetime.now(UTC) + SILENT_AFTER + timedelta(seconds=10)
        assert any(f"the node of {name} does not answer" in line.text for line in follow.look().lines)
        attempt.running("worker", index, but=name)
    finally:
        place.core.patch_node(lost.spec.node_name, {"spec": {"taints": None}})


def test_workers_that_the_quota_refuses_end_the_attempt_at_once(place: Place, attempt: Attempt) -> None:
    quota = {"metadata": {"name": "two-pods"}, "spec": {"hard": {"pods": "2"}}}
    place.core.create_namespaced_resource_quota(place.namespace, quota)
    try:
        place.eventually(lambda: _quota_status(place).hard, "the quota is kept")
        attempt.submit()
        assert attempt.reason() is FailureReason.RESOURCE_EXHAUSTED
        outcome = attempt.status().outcome
        assert outcome is not None
        assert "exceeded quota: two-pods" in outcome.message
        (found,) = place.cluster.quotas(place.namespace)
        assert found["status"]["used"] == {"pods": "2"}
    finally:
        place.core.delete_namespaced_resource_quota("two-pods", place.namespace)


def _quota_status(place: Place) -> client.V1ResourceQuotaStatus:
    return (
        place.core.read_namespaced_resource_quota("two-pods", place.namespace).status or client.V1ResourceQuotaStatus()
    )


def test_a_secret_that_vanished_is_named(place: Place, attempt: Attempt) -> None:
    whole = attempt.bundle()
    place.batch.create_namespaced_job(place.namespace, whole.main)
    place.batch.patch_namespaced_job(attempt.ref.job, place.namespace, {"spec": {"suspend": False}})
    gone = f'secret "{attempt.ref.job.removesuffix("-chief")}-tls" not found'
    place.eventually(lambda: gone in attempt.status().waiting_for, "its pod waits for it")
    later = datetime.now(UTC) + timedelta(seconds=61)
    status = job_status(place.cluster.observe(attempt.ref), attempt.job_id, later, 600)
    assert status.outcome is not None
    assert status.outcome.reason is FailureReason.PERMISSION_DENIED
    assert gone in status.outcome.message


def test_a_missing_namespace_is_named(place: Place) -> None:
    made = place.attempt()
    whole = made.bundle()
    whole.main["metadata"]["namespace"] = "nowhere"
    with pytest.raises(TrainingFailure, match="nowhere") as caught:
        place.cluster.submit(whole)
    assert caught.value.reason in (FailureReason.CONFIG_INVALID, FailureReason.PERMISSION_DENIED)
