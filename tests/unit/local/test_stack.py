"""The process that holds a stack up: told to stop, it does, also before Airflow is there."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from composer.local import stack
from composer.local.ports import free_ports


class Starting:
    """A stack whose Airflow does not come up, and of which somebody has had enough by then."""

    def __init__(self) -> None:
        self.closed = False

    def start_stand_ins(self) -> None:
        pass

    def start_airflow(self) -> None:
        pass

    def wait_for_airflow(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert not threading.Event().wait(30), "it was told to stop"
        raise AssertionError("it waits for Airflow all the same")


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starting]:
    made = Starting()

    @contextlib.contextmanager
    def new_stack(*_: object, **__: object) -> Iterator[Starting]:
        try:
            yield made
        finally:
            made.closed = True

    monkeypatch.setattr(stack, "new_stack", new_stack)
    monkeypatch.setattr("sys.argv", ["stack", "--port", str(free_ports(1)[0])])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_while_it_starts_ends_it_at_once(starting: Starting) -> None:
    assert stack.main() == os.EX_TEMPFAIL
    assert starting.closed
