"""SIGTERM noticed from the first moment on, and an end that nothing can delay.

A Spot machine gives 25 seconds, Kubernetes 30. What is still waited for then (an upload that hangs, a thread, a peer)
must not cost the pod its last word.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from trainer.contract import FailureReason, TrainingFailure

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Of the 25 seconds after SIGTERM, when the process ends whatever it is doing.
END_S = 22.0
_told = threading.Event()


def remember() -> None:
    """Note SIGTERM until the program has a handler of its own: it may come while libraries are imported."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: _told.set())


def was_told() -> bool:
    """Whether a signal came before the program's own handler was there."""
    return _told.is_set()


def end_as_preempted() -> None:
    """From now on SIGTERM ends what the main thread is doing with ``Preempted``."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise TrainingFailure(FailureReason.PREEMPTED, "the pod was told to stop")

    for number in SIGNALS:
        signal.signal(number, end)


def stop_if_told() -> None:
    """Raise ``Preempted`` when a signal came before :func:`end_as_preempted` was called."""
    if was_told():
        raise TrainingFailure(FailureReason.PREEMPTED, "the pod was told to stop before it had begun")


def end_within(last_word: Callable[[], int], within_s: float = END_S) -> None:
    """End the process ``within_s`` seconds from now with the exit code that ``last_word`` returns."""
    timer = threading.Timer(within_s, lambda: os._exit(last_word()))
    timer.daemon = True
    timer.start()
