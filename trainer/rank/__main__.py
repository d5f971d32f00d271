"""``python -m trainer.rank DESCRIPTOR PARENT``: the fork server, and in its children the ranks.

``DESCRIPTOR`` is an inherited socket, ``PARENT`` the process that the server must not outlive. Two things see to a
rank's end: the kernel's signal, and the end of its socket, which a thread of its own waits for while commands run.
"""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from trainer.optional import do_without
from trainer.rank.fork_server import serve
from trainer.rank.frames import EndOfFrames, Frames
from trainer.rank.gate import Gate

PR_SET_PDEATHSIG = 1
Frame = tuple[dict[str, Any], bytes]


def main(descriptor: int, parent: int) -> None:
    """Fork ranks until the connection ends."""
    _die_with(parent)
    # The pod's end is its main process's decision, which first finishes what can be kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()  # what is not moved about stays shared with the ranks
    server = os.getpid()

    def rank(connection: int, cache_dir: Path) -> None:
        _die_with(server)
        gc.enable()
        run_rank(socket.socket(fileno=connection), cache_dir)

    serve(socket.socket(fileno=descriptor), rank)


def run_rank(connection: socket.socket, cache_dir: Path) -> None:
    """One rank: serve commands until the connection ends or ``stop`` comes."""
    from trainer.rank.commands import Rank

    frames, gate = Frames(connection), Gate()
    commands: queue.Queue[Frame] = queue.Queue()
    threading.Thread(target=_receive, args=(frames, gate, commands), daemon=True).start()
    rank = Rank(cache_dir, lambda report: frames.send({"kind": "progress", "report": report}), gate)
    while True:
        header, payload = commands.get()
        try:
            frames.send(*rank.answer(header["command"], header["arguments"], payload))
        except EndOfFrames:
            _exit()
        if header["command"] == "stop":
            _exit()


def _receive(frames: Frames, gate: Gate, commands: queue.Queue[Frame]) -> None:
    while True:
        try:
            header, payload = frames.receive()
            # These two come while a segment trains, and are for the thread that trains it.
            if header["command"] == "hold":
                segment = header["arguments"]["segment"]
                frames.send({"kind": "held", "segment": segment, "rounds": gate.hold(segment)})
            elif header["command"] == "until":
                gate.until(header["arguments"]["segment"], header["arguments"]["rounds"])
            else:
                commands.put((header, payload))
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
    do_without()
    main(int(sys.argv[1]), int(sys.argv[2]))
