"""The table of states."""

import pytest

from trainer.chief.states import TERMINAL, TRANSITIONS, Event, State, after


def test_the_way_from_the_first_worker_to_the_result() -> None:
    events = [Event.COMPLETE, Event.LOADED, Event.FORMED, Event.BOUNDARY, Event.BOUNDARY, Event.TRAINED, Event.WRITTEN]
    state = State.WAITING
    for event in events:
        state = after(state, event)
    assert state is State.DONE


def test_every_state_is_reachable_and_every_other_leads_on() -> None:
    assert {state for (_, _), state in TRANSITIONS.items()} | {State.WAITING} == set(State)
    assert {state for state, _ in TRANSITIONS} == set(State) - TERMINAL


@pytest.mark.parametrize("state", [State.LOADING, State.FORMING, State.TRAINING])
def test_a_loss_is_handled_wherever_ranks_run(state: State) -> None:
    assert after(state, Event.LOST) is State.REGROUPING
    assert after(state, Event.BROKEN) is State.FAILED


def test_a_group_is_formed_again_at_once_or_after_a_pause() -> None:
    state = State.TRAINING
    for event in (Event.LOST, Event.NO_QUORUM, Event.QUORUM, Event.COMPLETE, Event.LOADED, Event.FORMED):
        state = after(state, event)
    assert state is State.TRAINING
    assert after(State.PAUSED, Event.GIVEN_UP) is State.FAILED


@pytest.mark.parametrize("state", [s for s in State if s not in TERMINAL | {State.FINISHING}])
def test_it_can_be_stopped_wherever_something_may_still_be_lost(state: State) -> None:
    assert after(state, Event.STOPPED) is State.FAILED


def test_what_cannot_happen_is_refused() -> None:
    with pytest.raises(ValueError, match="FORMED cannot happen while the chief is waiting for workers"):
        after(State.WAITING, Event.FORMED)
