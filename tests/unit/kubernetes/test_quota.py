"""What a job asks of its namespace's quota, and what is not allowed of it."""

from decimal import Decimal
from typing import Any

from f1_training.core.specs import training_spec
from f1_training.kubernetes.certificates import Certificates
from f1_training.kubernetes.manifests import training_bundle
from f1_training.kubernetes.names import Purpose
from f1_training.kubernetes.quota import of_pod, shortfalls, wanted
from f1_training.kubernetes.settings import job_settings
from tests.fakes.run_plan import make_plan, training_snapshot
from trainer.contract.quantities import amount


def asked(workers: int, **params: Any) -> dict[str, Decimal]:
    plan = make_plan(num_workers=workers, **params)
    spec = training_spec(plan, training_snapshot(plan), 1)
    certificates = Certificates(ca="ca", certificate="certificate", key="key")
    bundle = training_bundle(spec, job_settings(plan, Purpose.TRAIN, 1), certificates)
    return wanted((bundle.main, *bundle.owned))


def test_a_job_asks_for_its_chief_and_all_its_workers() -> None:
    plan = make_plan()
    chief, worker = plan.entry.chief_resources, plan.entry.resources
    found = asked(4)
    assert found["pods"] == 5
    assert found["requests.cpu"] == found["cpu"] == amount(chief.cpu) + 4 * amount(worker.cpu)
    assert found["limits.memory"] == amount(chief.memory) + 4 * amount(worker.memory)
    assert (found["count/jobs.batch"], found["count/secrets"], found["services"]) == (2, 1, 1)
    assert "limits.cpu" not in found, "our pods have none"
    assert "requests.nvidia.com/gpu" not in found


def test_a_limit_without_a_request_is_a_request() -> None:
    container = {"resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "2"}}}
    found = of_pod({"containers": [container]})
    assert found["requests.nvidia.com/gpu"] == 2


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "training"}, "spec": {"hard": hard, **spec}, "status": {"used": used or {}}}


def test_what_is_not_allowed_is_said_with_both_numbers() -> None:
    (line,) = shortfalls([quota({"pods": "4", "requests.cpu": "1000"})], asked(4), free=False)
    assert line == "quota 'training': pods 5 is asked for, 4 is allowed"


def test_what_is_in_use_counts_for_the_room_of_now_only() -> None:
    full = quota({"pods": "8"}, {"pods": "4"})
    assert shortfalls([full], asked(4), free=False) == []
    assert shortfalls([full], asked(4), free=True) == [
        "quota 'training': pods 5 is asked for, 8 is allowed and 4 is in use"
    ]


def test_quotas_of_other_things_and_of_some_pods_only_are_left_to_the_cluster() -> None:
    others = [quota({"requests.storage": "0", "configmaps": "0"}), quota({"pods": "0"}, scopes=["BestEffort"])]
    assert shortfalls(others, asked(4), free=True) == []
