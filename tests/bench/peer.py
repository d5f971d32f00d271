"""Run one peer in its own environment, with a deadline, and leave nothing of it behind."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composer.local.places import REPOSITORY
from composer.local.processes import Supervisor
from tests.bench.stand import FOLDER

PYTHON = FOLDER / "venv" / "bin" / "python"
#: Ray's sockets have paths of at most 107 characters, so its files need a short one.
SCRATCH = FOLDER / "p"
DEADLINE_S = 600.0
STEP_S = 0.1


class PeerFailed(Exception):
    """A peer ended without a result; the message has the end of its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """``script`` below ``tests/bench/peers`` and what it is given."""

    script: str
    rows: Path
    params: Mapping[str, Any]
    rounds: int
    threads: int
    workers: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)


def run_peer(peer: Peer, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
    """What the script found: ``seconds``, ``build_s``, ``train_s``, ``rmse``, and its own.

    Raises:
        PeerFailed: it ended without a result, or did not end in time.
    """
    shutil.rmtree(SCRATCH, ignore_errors=True)
    (SCRATCH / "tmp").mkdir(parents=True)
    result = SCRATCH / "result.json"
    config = SCRATCH / "case.json"
    case = {
        "rows": str(peer.rows),
        "params": dict(peer.params),
        "rounds": peer.rounds,
        "threads": peer.threads,
        "workers": peer.workers,
        "result": str(result),
        "folder": str(SCRATCH / "f"),
    }
    config.write_text(json.dumps(case))
    logs = FOLDER / "log"
    logs.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    # Ray leaves files in the home folder.
    own = {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(SCRATCH / "tmp"), "HOME": str(SCRATCH)}
    environment = {**kept, **own, **peer.environment}
    environment["PYTHONPYCACHEPREFIX"] = str(FOLDER / "bytecode")
    with Supervisor(logs) as supervisor:
        command = [str(PYTHON), "-m", f"tests.bench.peers.{peer.script}", str(config)]
        child = supervisor.start(peer.script, command, environment, REPOSITORY)
        end = time.monotonic() + deadline_s
        while child.process.poll() is None:
            if time.monotonic() > end:
                raise PeerFailed(f"{peer.script} was not over within {deadline_s:.0f} s: {child.tail(5)}")
            time.sleep(STEP_S)
        if not result.exists():
            raise PeerFailed(f"{peer.script} ended with code {child.process.poll()}: {child.tail(12)}")
    found: dict[str, Any] = json.loads(result.read_text())
    shutil.rmtree(SCRATCH, ignore_errors=True)
    return found
