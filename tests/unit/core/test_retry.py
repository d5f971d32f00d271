"""Every row of the table of failures: tried again or not, how often, after how long, and with what changed."""

import pytest

from f1_training.core.retry import RULES, RetrySettings, Size, Team, decide
from trainer.contract import ContractError, FailureReason
from trainer.contract.resources import LADDER, Resources

R = FailureReason
SETTINGS = RetrySettings()
SIZE = Size(num_workers=4, resources=LADDER[1])
RETRIED = [reason for reason, rule in RULES.items() if rule.retried]


def test_every_reason_has_a_rule() -> None:
    assert set(RULES) == set(FailureReason)


@pytest.mark.parametrize(
    ("reason", "tells"),
    [
        (R.DATA_INVALID, Team.DATA),
        (R.PERMISSION_DENIED, Team.NOBODY),
        (R.CONFIG_INVALID, Team.NOBODY),
        (R.BUG, Team.NOBODY),
    ],
)
def test_what_another_try_cannot_change_is_final(reason: FailureReason, tells: Team) -> None:
    decision = decide(reason, [], SETTINGS, SIZE)
    assert (decision.retry, decision.tells, decision.size) == (False, tells, None)
    assert reason.value in decision.text


@pytest.mark.parametrize("reason", RETRIED)
def test_everything_else_is_tried_again(reason: FailureReason) -> None:
    decision = decide(reason, [], SETTINGS, SIZE)
    assert (decision.retry, decision.delay_s) == (True, 60)
    assert decision.text.startswith(f"retry in 60 s: {reason.value}, retry 1 of 3")


@pytest.mark.parametrize(
    ("reason", "earlier", "retries", "tells"),
    [
        (R.WORKERS_LOST, [R.WORKERS_LOST] * 2, True, Team.NOBODY),
        (R.WORKERS_LOST, [R.WORKERS_LOST] * 3, False, Team.NOBODY),
        (R.CHIEF_LOST, [R.CHIEF_LOST], True, Team.NOBODY),
        (R.CHIEF_LOST, [R.CHIEF_LOST] * 2, False, Team.ON_CALL),
        (R.CHIEF_LOST, [R.WORKERS_LOST, R.CHIEF_LOST], True, Team.NOBODY),
        (R.OUT_OF_MEMORY, [R.CHIEF_LOST] * 2, True, Team.NOBODY),
        (R.OUT_OF_MEMORY, [R.OUT_OF_MEMORY], False, Team.ML),
        (R.NETWORK_TIMEOUT, [R.NETWORK_TIMEOUT] * 2, True, Team.NOBODY),
        (R.NETWORK_TIMEOUT, [R.OUT_OF_MEMORY, R.CHIEF_LOST, R.PREEMPTED], False, Team.NOBODY),
    ],
)
def test_budgets(reason: FailureReason, earlier: list[FailureReason], retries: bool, tells: Team) -> None:
    decision = decide(reason, earlier, SETTINGS, SIZE)
    assert (decision.retry, decision.tells) == (retries, tells)


def test_pauses_double_up_to_the_longest() -> None:
    patient = RetrySettings(overall=9)
    delays = [decide(R.PREEMPTED, [R.PREEMPTED] * n, patient).delay_s for n in range(6)]
    assert delays == [60, 120, 240, 480, 600, 600]


def test_after_lost_workers_one_fewer() -> None:
    decision = decide(R.WORKERS_LOST, [], SETTINGS, SIZE)
    assert decision.size == Size(num_workers=3, resources=SIZE.resources)
    assert decision.why.endswith(", with 3 of 4 workers")
    alone = Size(num_workers=1, resources=SIZE.resources)
    assert decide(R.WORKERS_LOST, [], SETTINGS, alone).size == alone


def test_out_of_memory_climbs_to_the_next_machine() -> None:
    decision = decide(R.OUT_OF_MEMORY, [], SETTINGS, SIZE)
    assert decision.size == Size(num_workers=4, resources=LADDER[2])
    assert decision.why.endswith(", on n1-standard-16 with 49Gi instead of 24Gi")


def test_out_of_memory_at_the_top_tells_the_ml_team() -> None:
    decision = decide(R.OUT_OF_MEMORY, [], SETTINGS, Size(num_workers=4, resources=LADDER[-1]))
    assert (decision.retry, decision.tells) == (False, Team.ML)
    assert decision.why == "no machine type is larger than n1-highmem-16"
    odd = Size(num_workers=4, resources=Resources(cpu="1", memory="200Gi"))
    assert decide(R.OUT_OF_MEMORY, [], SETTINGS, odd).why == "no machine type is larger than 200Gi"


@pytest.mark.parametrize("reason", [R.PREEMPTED, R.NETWORK_PARTITION, R.RESOURCE_EXHAUSTED, R.CHIEF_LOST])
def test_otherwise_the_next_attempt_is_as_before(reason: FailureReason) -> None:
    assert decide(reason, [], SETTINGS, SIZE).size == SIZE


def test_a_task_without_a_size_is_retried_too() -> None:
    decision = decide(R.OUT_OF_MEMORY, [], SETTINGS)
    assert (decision.retry, decision.size) == (True, None)


def test_retries_can_be_switched_off() -> None:
    decision = decide(R.CHIEF_LOST, [], RetrySettings(overall=0), SIZE)
    assert (decision.retry, decision.tells) == (False, Team.ON_CALL)


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ContractError, match="chief_lost"):
        RetrySettings(chief_lost=-1)
