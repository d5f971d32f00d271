"""Who trains on after a loss: the rules alone, without anybody to lose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.chief.regroup import Loss, has_quorum, is_partition, patience_s, pause, pause_s, regroup
from trainer.chief.states import Event
from trainer.contract import FailureReason, Limits

LIMITS = Limits(regroup_grace_s=300, partition_s=900)
AT = 1000.0


def loss(*wanted: int, reason: FailureReason = FailureReason.WORKERS_LOST, patience_s: float = 300) -> Loss:
    return Loss(wanted=frozenset(wanted), at=AT, reason=reason, patience_s=patience_s)


@pytest.mark.parametrize(
    ("total", "live", "quorum"),
    [(1, 1, True), (2, 1, False), (3, 2, True), (4, 2, False), (5, 3, True), (10, 5, False)],
)
def test_more_than_half_is_a_quorum(total: int, live: int, quorum: bool) -> None:
    assert has_quorum(total, set(range(live))) is quorum


def test_those_that_are_back_are_not_waited_for() -> None:
    assert regroup(loss(0, 1, 2), 3, {0, 1, 2}, AT) is Event.COMPLETE


def test_survivors_wait_as_long_as_the_grace() -> None:
    assert regroup(loss(0, 1, 2), 3, {0, 2}, AT + 299) is None
    assert regroup(loss(0, 1, 2), 3, {0, 2}, AT + 300) is Event.COMPLETE


def test_without_grace_they_go_on_at_once() -> None:
    assert regroup(loss(0, 1, 2, patience_s=0), 3, {0, 2}, AT) is Event.COMPLETE


def test_who_was_not_in_the_group_is_not_waited_for() -> None:
    # Worker 3 was given up before; now worker 1 is lost and is back.
    assert regroup(loss(0, 1, 2), 4, {0, 1, 2}, AT) is Event.COMPLETE


def test_half_is_too_few_and_pauses() -> None:
    assert regroup(loss(0, 1), 2, {0}, AT) is Event.NO_QUORUM
    assert regroup(loss(0, 1, 2, 3), 4, {0, 1}, AT + 900) is Event.NO_QUORUM


def test_a_pause_ends_with_the_quorum_or_the_grace() -> None:
    assert pause(2, 300, {0}, 299) is None
    assert pause(2, 300, {0, 1}, 299) is Event.QUORUM
    assert pause(2, 300, {0}, 300) is Event.GIVEN_UP


def test_who_is_only_silent_is_waited_for_longer() -> None:
    assert pause_s(LIMITS, partitioned=False) == 300
    assert pause_s(LIMITS, partitioned=True) == 900
    assert not is_partition(loss(0, 1), set())
    assert is_partition(loss(0, 1), {1})
    assert is_partition(loss(0, 1, reason=FailureReason.NETWORK_PARTITION), set())


def test_who_is_lost_faster_than_it_comes_back_is_not_waited_for() -> None:
    assert patience_s(LIMITS, trained_s=0, returned_s=None) == 300, "nothing is known yet"
    assert patience_s(LIMITS, trained_s=60, returned_s=12) == 300
    assert patience_s(LIMITS, trained_s=8, returned_s=12) == 0


@given(
    total=st.integers(1, 10),
    wanted=st.sets(st.integers(0, 9), min_size=1),
    live=st.sets(st.integers(0, 9)),
    waited=st.floats(0, 2000),
)
def test_a_group_of_half_or_fewer_is_never_formed_and_no_wait_is_endless(
    total: int, wanted: set[int], live: set[int], waited: float
) -> None:
    event = regroup(loss(*wanted), total, live, AT + waited)
    if event is Event.COMPLETE:
        assert 2 * len(live) > total
    if event is None:
        assert waited < LIMITS.regroup_grace_s
    if not has_quorum(total, live):
        assert pause(total, LIMITS.partition_s, live, LIMITS.partition_s) is Event.GIVEN_UP
