"""``python -m trainer.rank``: one rank. Commands come in on standard input, replies go out on standard output.

It dies with its parent: the kernel kills it when the thread that started it ends, and the pipe's end does the rest.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import BinaryIO

from trainer.rank.frames import read_frame, write_frame
from trainer.rank.process import PARENT

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve commands until the input ends."""
    _die_with_parent()
    commands, replies = _take_streams()
    from trainer.rank.commands import Rank  # after the streams are safe from what libraries print

    rank = Rank(lambda report: write_frame(replies, {"kind": "progress", "report": report}))
    while (frame := read_frame(commands)) is not None:
        header, payload = rank.answer(frame[0]["command"], frame[0]["arguments"], frame[1])
        write_frame(replies, header, payload)
        if frame[0]["command"] == "stop":
            break
    # Libraries may hold threads that wait for peers; nothing here needs an orderly end.
    os._exit(0)


def _die_with_parent() -> None:
    """Have the kernel kill us when the parent's process is gone, and notice a parent that is gone already.

    The signal comes when the *thread* that started us ends, and Dask runs tasks in threads that stay, so a thread's
    end before its process's is only met in tests; the check of the pipe covers the rest.
    """
    parent = os.environ.get(PARENT)
    if parent and os.getppid() != int(parent):
        os._exit(os.EX_UNAVAILABLE)
    if parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            os._exit(os.EX_UNAVAILABLE)


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Our frames' streams; whatever a library prints goes to standard error from here on."""
    commands, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return os.fdopen(commands, "rb"), os.fdopen(replies, "wb")


if __name__ == "__main__":
    sys.exit(main())
