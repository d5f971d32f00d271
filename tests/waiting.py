"""Waiting for what other processes do: with a deadline, and a name for what did not come."""

import time
from collections.abc import Callable
from typing import Any


def eventually(look: Callable[[], Any], what: str, within_s: float = 40.0, every_s: float = 0.5) -> Any:
    """What ``look`` finds, once it finds something; it is asked every ``every_s`` seconds, for ``within_s`` at most."""
    end = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(every_s)
    return found
