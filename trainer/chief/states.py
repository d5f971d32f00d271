"""What the chief does next: one table from state and event to state, without any input or output.

A group can be formed again: after a loss the same states are entered anew, with other workers.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class State(enum.StrEnum):
    """What the chief is doing."""

    WAITING = "waiting for workers"
    LOADING = "loading"
    FORMING = "forming the group"
    TRAINING = "training"
    REGROUPING = "regrouping"
    PAUSED = "paused: too few workers are left"
    FINISHING = "writing the result"
    DONE = "done"
    FAILED = "failed"


class Event(enum.StrEnum):
    """What happened."""

    COMPLETE = "all workers that are waited for are there"
    LOADED = "all shards are loaded"
    FORMED = "all ranks are ready to train"
    BOUNDARY = "a segment is trained, and rounds are left"
    CHANGED = "a segment is trained, and a worker leaves or is back"
    TRAINED = "the last segment is trained"
    WRITTEN = "the result is written"
    LOST = "a worker was lost"
    NO_QUORUM = "half of the workers or fewer are left"
    QUORUM = "more than half of the workers are there again"
    GIVEN_UP = "the workers did not come back in time"
    BROKEN = "the group was lost for a reason that another group would meet too"
    STOPPED = "the chief was told to stop"


TERMINAL = frozenset({State.DONE, State.FAILED})
#: Where ranks run, so that a worker can be lost.
WITH_RANKS = (State.LOADING, State.FORMING, State.TRAINING)

TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.WAITING, Event.COMPLETE): State.LOADING,
    (State.LOADING, Event.LOADED): State.FORMING,
    (State.FORMING, Event.FORMED): State.TRAINING,
    (State.TRAINING, Event.BOUNDARY): State.TRAINING,
    (State.TRAINING, Event.CHANGED): State.REGROUPING,
    (State.TRAINING, Event.TRAINED): State.FINISHING,
    (State.FINISHING, Event.WRITTEN): State.DONE,
    **{(state, Event.LOST): State.REGROUPING for state in WITH_RANKS},
    **{(state, Event.BROKEN): State.FAILED for state in WITH_RANKS},
    (State.REGROUPING, Event.COMPLETE): State.LOADING,
    (State.REGROUPING, Event.NO_QUORUM): State.PAUSED,
    (State.PAUSED, Event.QUORUM): State.REGROUPING,
    (State.PAUSED, Event.GIVEN_UP): State.FAILED,
    **{(state, Event.STOPPED): State.FAILED for state in (State.WAITING, State.REGROUPING, State.PAUSED, *WITH_RANKS)},
}


def after(state: State, event: Event) -> State:
    """The state that follows ``state`` when ``event`` happens.

    Raises:
        ValueError: the event cannot happen in that state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError as e:
        raise ValueError(f"{event.name} cannot happen while the chief is {state.value}") from e
