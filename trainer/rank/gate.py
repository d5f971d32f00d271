"""Where a running segment ends: all ranks at the same round, also when it is cut short.

Ranks train a round together, so they are never more than one round apart. To cut a segment short the chief first holds
all of them, each at the end of the round that it is in, and then names the furthest of these rounds: nobody has passed
it, and everybody can reach it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

NONE = -1
#: Who holds a rank names the round within seconds. One that was forgotten goes on: its peers wait for it.
HELD_S = 20.0


@dataclass
class Gate:
    """Passed after every round by the thread that trains; held from another thread. Rounds count from the segment's
    first.
    """

    _segment: int = NONE
    _rounds: int = 0
    _done: int = 0
    _ceiling: int | None = None
    _early: int = NONE
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, segment: int, rounds: int) -> None:
        """A segment of ``rounds`` rounds begins."""
        with self._changed:
            self._segment, self._rounds, self._done = segment, rounds, 0
            self._ceiling = 1 if self._early == segment else None

    def passed(self, done: int) -> bool:
        """``done`` rounds are trained; whether there is another. Waits here while the gate is held at this round."""
        with self._changed:
            self._done = done
            while self._ceiling is not None and done >= self._ceiling and done < self._rounds:
                if not self._changed.wait(HELD_S):
                    self._ceiling = None
            return done < self._rounds

    def hold(self, segment: int) -> int:
        """Let nobody pass the round that is being trained; how many rounds that makes."""
        with self._changed:
            if segment > self._segment:
                self._early = segment
                return 1
            if segment == self._segment and self._ceiling is None:
                self._ceiling = min(self._done + 1, self._rounds)
            return self._rounds if self._ceiling is None else self._ceiling

    def until(self, segment: int, rounds: int) -> None:
        """The segment has ``rounds`` rounds."""
        with self._changed:
            if segment == self._segment:
                self._rounds, self._ceiling = min(rounds, self._rounds), None
            self._changed.notify_all()
