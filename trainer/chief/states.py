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
    FINISHING = "writing the result"
    DONE = "done"
    FAILED = "failed"


class Event(enum.StrEnum):
    """What happened."""

    COMPLETE = "all workers are there"
    LOADED = "all shards are loaded"
    FORMED = "all ranks are ready to train"
    BOUNDARY = "a segment is trained, and rounds are left"
    TRAINED = "the last segment is trained"
    WRITTEN = "the result is written"
    LOST = "a worker was lost"
    STOPPED = "the chief was told to stop"


TERMINAL = frozenset({State.DONE, State.FAILED})

TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.WAITING, Event.COMPLETE): State.LOADING,
    (State.LOADING, Event.LOADED): State.FORMING,
    (State.FORMING, Event.FORMED): State.TRAINING,
    (State.TRAINING, Event.BOUNDARY): State.TRAINING,
    (State.TRAINING, Event.TRAINED): State.FINISHING,
    (State.FINISHING, Event.WRITTEN): State.DONE,
    (State.LOADING, Event.LOST): State.FAILED,
    (State.FORMING, Event.LOST): State.FAILED,
    (State.TRAINING, Event.LOST): State.FAILED,
    (State.WAITING, Event.STOPPED): State.FAILED,
    (State.LOADING, Event.STOPPED): State.FAILED,
    (State.FORMING, Event.STOPPED): State.FAILED,
    (State.TRAINING, Event.STOPPED): State.FAILED,
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
