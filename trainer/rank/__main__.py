"""``python -m trainer.rank DESCRIPTOR PARENT CACHE_DIR``: one rank, as :class:`RankProcess` starts it.

``DESCRIPTOR`` is an inherited socket, ``PARENT`` the process that it must not outlive. Two things see to that: the
kernel's signal, and the socket's end, which a thread of its own waits for while commands run.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from trainer.rank.frames import EndOfFrames, Frames

PR_SET_PDEATHSIG = 1
Frame = tuple[dict[str, Any], bytes]


def main(descriptor: int, parent: int, cache_dir: Path) -> None:
    """Serve commands until the connection ends or ``stop`` comes."""
    _die_with(parent)
    os.dup2(2, 1)  # what libraries print belongs in the log
    # The pod's end is its main process's decision, which first finishes what can be kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    commands: queue.Queue[Frame] = queue.Queue()
    threading.Thread(target=_receive, args=(Frames(connection), commands), daemon=True).start()

    from trainer.rank.commands import Rank

    frames = Frames(connection)
    rank = Rank(cache_dir, lambda report: frames.send({"kind": "progress", "report": report}))
    while True:
        header, payload = commands.get()
        try:
            frames.send(*rank.answer(header["command"], header["arguments"], payload))
        except EndOfFrames:
            _exit()
        if header["command"] == "stop":
            _exit()


def _receive(frames: Frames, commands: queue.Queue[Frame]) -> None:
    while True:
        try:
            commands.put(frames.receive())
        except EndOfFrames:
            _exit()


def _exit() -> None:
    # Libraries may hold threads that wait for peers: nothing here needs, or would survive, an orderly end.
    sys.stderr.flush()
    os._exit(os.EX_OK)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before the kernel knew what we want.
    if os.getppid() != parent:
        os._exit(os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
