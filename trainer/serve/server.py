"""The process around the application: how it ends, so that nobody's request is lost.

Told to stop, it goes on for ``drain_s``: health says 503, so that no new client is sent here, and each answer closes
its connection. Then no connection is taken any more, requests that have begun are finished, and the process ends.
"""

from __future__ import annotations

import threading
from types import FrameType

import uvicorn

from trainer.serve.serving import Serving

#: How long a request that has begun may take when the process ends; above how long a body may take to arrive.
FINISH_S = 20
#: Longer than clients keep a connection that they do not use, so that it is they who close it.
KEEP_ALIVE_S = 75


class DrainingServer(uvicorn.Server):
    """Serves until SIGTERM or SIGINT; a second signal ends the drain at once."""

    def __init__(self, config: uvicorn.Config, serving: Serving, drain_s: float) -> None:
        super().__init__(config)
        self._serving = serving
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        if self._serving.stopping or not self._drain_s:
            self._serving.stopping = True
            super().handle_exit(sig, frame)
            return
        self._serving.stopping = True
        timer = threading.Timer(self._drain_s, super().handle_exit, (sig, frame))
        timer.daemon = True
        timer.start()
