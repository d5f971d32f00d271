"""The chief's decisions, as pure functions."""

import pytest

from trainer.chief import plan
from trainer.contract import CheckpointPolicy, EarlyStopping, FailureReason, Objective, TrainingFailure

POLICY = CheckpointPolicy(segment_rounds=100, max_segment_s=600)


def test_a_segments_seed_is_the_same_everywhere() -> None:
    # Written down: another seed would make every resumed job differ from the uninterrupted one.
    assert [plan.segment_seed(7, n) for n in range(3)] == [846087042, 31345144, 335598169]


def test_seeds_of_segments_and_bases_differ_and_fit_both_libraries() -> None:
    seeds = {plan.segment_seed(base, segment) for base in range(20) for segment in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("left", "round_s", "cells", "expected"),
    [
        (800, None, 0, 100),
        (30, None, 0, 30),
        (800, 0.5, 0, 100),
        (800, 6.0, 0, 100),
        (800, 6.1, 0, 98),
        (800, 700.0, 0, 1),
        (800, None, 2_000_000_000, 10),
        (3, None, 2_000_000_000, 3),
        (800, 0.1, 2_000_000_000, 100),
    ],
)
def test_a_segment_is_as_long_as_policy_time_and_rounds_left_allow(
    left: int, round_s: float | None, cells: int, expected: int
) -> None:
    assert plan.segment_rounds(POLICY, left, round_s, cells) == expected


def test_a_regressions_base_score_is_the_mean_over_all_ranks() -> None:
    assert plan.base_score(Objective.ABSOLUTE_ERROR, [(10.0, 4.0), (-4.0, 2.0)]) == 1.0


def test_base_score_does_not_depend_on_the_order_of_ranks() -> None:
    sums = [(0.1, 1.0), (1e16, 1.0), (-1e16, 1.0), (0.3, 1.0)]
    assert plan.base_score(Objective.SQUARED_ERROR, sums) == plan.base_score(Objective.SQUARED_ERROR, sums[::-1])


@pytest.mark.parametrize("objective", [Objective.BINARY_LOGISTIC, Objective.MULTICLASS])
def test_a_classifier_starts_from_an_even_chance(objective: Objective) -> None:
    assert plan.base_score(objective, [(3.0, 4.0)]) == 0.5


@pytest.mark.parametrize("sums", [[(float("nan"), 3.0)], [(1.0, 0.0)], [(float("inf"), 2.0)], []])
def test_a_target_without_a_mean_is_invalid_data(sums: list[tuple[float, float]]) -> None:
    with pytest.raises(TrainingFailure, match="target's mean") as caught:
        plan.base_score(Objective.SQUARED_ERROR, sums)
    assert caught.value.reason is FailureReason.DATA_INVALID


def test_early_stopping_stops_after_patience_rounds_without_a_better_value() -> None:
    state = plan.observe(EarlyStopping(), [3.0, 2.0, 2.5, 2.5, 1.0], 0, patience=2)
    assert state == EarlyStopping(best_round=2, best_value=2.0, stopped=True)


def test_early_stopping_is_the_same_wherever_segments_end() -> None:
    values = [5.0, 4.0, 4.5, 3.0, 3.1, 3.2, 2.9, 3.0, 3.0, 3.0, 1.0]
    whole = plan.observe(EarlyStopping(), values, 0, patience=3)
    for cut in range(1, 10):
        state = plan.observe(EarlyStopping(), values[:cut], 0, patience=3)
        if not state.stopped:
            state = plan.observe(state, values[cut:], cut, patience=3)
        assert state == whole


def test_without_patience_the_best_round_is_kept_and_nothing_stops() -> None:
    state = plan.observe(EarlyStopping(), [3.0, 2.0, *[4.0] * 500], 0, patience=0)
    assert (state.best_round, state.stopped) == (2, False)


def test_sums_of_ranks_are_added_a_round() -> None:
    assert plan.add_sums([[[1.0, 2.0], [3.0, 2.0]], [[0.5, 1.0], [0.25, 1.0]]]) == [(1.5, 3.0), (3.25, 3.0)]


def test_ranks_that_report_different_rounds_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        plan.add_sums([[[1.0, 2.0]], []])


def test_ranks_that_disagree_are_named() -> None:
    plan.require_agreement(["a", "a"])
    with pytest.raises(TrainingFailure, match="ranks 1, 3 grew other trees") as caught:
        plan.require_agreement(["a", "b", "a", "c"])
    assert caught.value.reason is FailureReason.BUG
