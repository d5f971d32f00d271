"""Names follow from run and attempt, and fit into Kubernetes' limits."""

import pytest

from f1_training.core.plan import job_id
from f1_training.kubernetes.names import JobNames, Purpose, attempt_ref
from trainer.contract import ContractError


def test_names_of_attempts_and_purposes_differ() -> None:
    names = [JobNames.of("job", purpose, attempt, "ns").base for purpose in Purpose for attempt in (1, 2, 11)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("model_type", ["tire_degradation", "x" * 100])
def test_the_longest_names_fit(model_type: str) -> None:
    names = JobNames.of(job_id("dag", "run", model_type), Purpose.EVALUATE, 999, "ns")
    for name in (names.chief, names.workers, names.service, names.secret):
        assert len(f"{name}-9-abcde") <= 63


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(ContractError, match="too long"):
        JobNames(base="x" * 60, namespace="ns")


def test_one_worker_has_no_worker_job() -> None:
    assert attempt_ref("job", Purpose.TRAIN, 1, "ns", 1).worker_job == ""
    assert attempt_ref("job", Purpose.TRAIN, 1, "ns", 2).worker_job == "job-1-work"
    assert attempt_ref("job", Purpose.EVALUATE, 1, "ns", 2).worker_job == ""


def test_training_and_evaluation_of_one_attempt_number_do_not_see_each_other_s_pods() -> None:
    selectors = {attempt_ref("job", purpose, 1, "ns", 2).selector for purpose in Purpose}
    assert len(selectors) == len(Purpose)
