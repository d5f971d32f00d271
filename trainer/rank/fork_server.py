"""A process that has imported what a rank needs and forks ranks: a new one starts in milliseconds, not in seconds.

After a loss every surviving rank is killed and started anew; importing the libraries again would be most of the time
that this takes. The server never starts a thread of its own and touches no row, so what it forks is as good as new. It
dies with the process that started it, and its ranks die with it.

| Request | File descriptors | Reply |
|---|---|---|
| ``{"import": engine}`` | | none |
| ``{"fork": cache folder}`` | the rank's socket, the end of the pipe for its output | ``{"pid": ...}`` |
| ``{"reap": pid}`` | | ``{"code": exit code, negative for a signal, None while it runs}`` |
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trainer

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
#: The Dask nanny sets these to 1. The spec's thread count is what holds, and each library is told it.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Threads that wait for each other spin for some 0.1 ms before they sleep. Spinning on, as by default, made training
#: ten times slower where something else ran on a core; to sleep at once costs two threads 15 % where nothing does.
#: Nothing here computes with BLAS, whose threads would have to survive a fork.
VARIABLES = {"GOMP_SPINCOUNT": "2000", "OPENBLAS_NUM_THREADS": "1"}
#: What every rank imports when it loads its shards, and the library behind each engine.
COMMON = ("trainer.data", "trainer.boosters", "google.cloud.bigquery_storage_v1.services.big_query_read")
OF_ENGINE = {"xgboost": ("trainer.boosters.xgb_rank",), "lightgbm": ("trainer.boosters.lgbm_rank",)}

REQUEST_BYTES = 64 * 1024
#: A server that imports a library answers within this time, or is broken.
ANSWER_S = 60.0
POLL_S = 0.005
CLOSE_S = 5.0

# The kernel kills a process when the *thread* that started it ends, and threads of pools come and go. So all servers
# are started by one thread, which ends with this process.
_starter = ThreadPoolExecutor(1, thread_name_prefix="rank-starter")


@dataclass(frozen=True, slots=True)
class Forked:
    """A rank that was just forked: our ends of its socket and of the pipe with what it prints."""

    pid: int
    connection: socket.socket
    output: int


class ForkServer:
    """The client's side. Requests may come from any thread.

    Raises from every method but ``close``: ``OSError`` when the server is gone.
    """

    def __init__(self, environment: Mapping[str, str] = NO_VARIABLES) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _starter.submit(_start, theirs.fileno(), environment).result()
        ours.settimeout(ANSWER_S)
        self._control = ours
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def prepare(self, engine: str) -> None:
        """Import what ranks of ``engine`` need; returns at once."""
        with self._lock:
            self._control.send(json.dumps({"import": engine}).encode())

    def fork(self, cache_dir: Path) -> Forked:
        """Start a rank."""
        ours, theirs = socket.socketpair()
        output, written = os.pipe()
        try:
            with theirs:
                reply = self._ask({"fork": str(cache_dir)}, [theirs.fileno(), written])
        except OSError:
            ours.close()
            os.close(output)
            raise
        finally:
            os.close(written)
        return Forked(pid=int(reply["pid"]), connection=ours, output=output)

    def reap(self, pid: int, within_s: float) -> int | None:
        """The exit code of rank ``pid``, negative for a signal; None when it still runs after ``within_s`` seconds.

        Until it is reaped, ``pid`` is nobody else's, so that it may be signalled.
        """
        deadline = time.monotonic() + within_s
        while True:
            code: int | None = self._ask({"reap": pid})["code"]
            if code is not None or time.monotonic() >= deadline:
                return code
            time.sleep(POLL_S)

    def close(self) -> None:
        """End the server, and with it every rank it forked."""
        self._control.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)

    def _ask(self, request: Mapping[str, object], descriptors: list[int] | None = None) -> dict[str, Any]:
        with self._lock:
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors or [])
            answer = self._control.recv(REQUEST_BYTES)
        if not answer:
            raise ConnectionResetError("the fork server is gone")
        reply: dict[str, Any] = json.loads(answer)
        return reply


def serve(control: socket.socket, rank: Callable[[int, Path], None]) -> None:
    """The server's side: answer requests until the client is gone. A forked child runs ``rank`` and never returns."""
    codes: dict[int, int] = {}
    while True:
        request, descriptors, *_ = socket.recv_fds(control, REQUEST_BYTES, 2)
        if not request:
            return
        wanted = json.loads(request)
        if "import" in wanted:
            _import(wanted["import"])
        elif "reap" in wanted:
            control.send(json.dumps({"code": _reaped(wanted["reap"], codes)}).encode())
        else:
            connection, output = descriptors
            pid = os.fork()
            if not pid:
                control.close()
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.close(output)
                rank(connection, Path(wanted["fork"]))
                os._exit(os.EX_OK)
            os.close(connection)
            os.close(output)
            control.send(json.dumps({"pid": pid}).encode())


def _import(engine: str) -> None:
    for module in (*COMMON, *OF_ENGINE.get(engine, ())):
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 - the rank will meet it again, and has somebody to tell
            return


def _reaped(pid: int, codes: dict[int, int]) -> int | None:
    """The exit code of ``pid``, remembered in ``codes``: two threads may ask for it."""
    if pid not in codes:
        found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            return None
        codes[pid] = os.waitstatus_to_exitcode(status)
    return codes[pid]


def _start(descriptor: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    variables = {**os.environ, **VARIABLES, **environment}
    for name in THREAD_VARIABLES:
        if name not in environment:
            variables.pop(name, None)
    root = str(Path(trainer.__file__).parents[1])
    variables["PYTHONPATH"] = os.pathsep.join(p for p in (root, variables.get("PYTHONPATH", "")) if p)
    command = [sys.executable, "-X", "faulthandler", "-m", "trainer.rank", str(descriptor), str(os.getpid())]
    return subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, pass_fds=[descriptor])
