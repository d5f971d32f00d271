"""The stack as ``make up`` starts it, for a module of tests; with it down, nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from composer.local.airflow_api import AirflowApi
from composer.local.places import REPOSITORY, Places
from composer.local.ports import free_ports
from composer.local.running import StackInfo, running_stack
from tests.integration.jobs.pods import UNMEASURED

RUN_S = 200


@dataclass(frozen=True)
class Up:
    """A running stack; ``said`` is what ``make up`` printed."""

    info: StackInfo
    places: Places
    api: AirflowApi
    environment: dict[str, str]
    said: str


def command(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A module of ours as a program."""
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=280
    )


def made(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """``make`` as it is documented, with the interpreter of the tests. A `make test ARGS=...` is not heard."""
    ours = ["-s", "-o", ".venv/.run", f"BIN={Path(sys.executable).parent}"]
    kept = {name: value for name, value in environment.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "ARGS")}
    return subprocess.run(
        ["make", *ours, *words], cwd=REPOSITORY, env=kept, capture_output=True, text=True, timeout=500
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """``make up``, then ``make down``."""
    root = tmp_path_factory.mktemp("var")
    environment = {
        **os.environ,
        **UNMEASURED,
        "F1_VAR": str(root),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'plugins'}",
    }
    places = Places(root=root)
    port = free_ports(1)[0]
    done = command("composer.local.up", "up", "--port", str(port), environment=environment)
    try:
        assert done.returncode == 0, done.stderr
        info = running_stack(places)
        assert info is not None
        yield Up(info, places, info.api(places), environment, done.stdout)
    finally:
        pids = _tree(places)
        stopped = command("composer.local.up", "down", environment=environment)
    assert stopped.stdout == "stopped\n"
    _, alive = psutil.wait_procs(pids, timeout=20)
    assert alive == [], "make down left processes behind"


def _tree(places: Places) -> list[psutil.Process]:
    info = running_stack(places)
    if info is None:
        return []
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(info.pid)
        return [process, *process.children(recursive=True)]
    return []


def succeeded(up: Up, run_id: str, within_s: float = RUN_S) -> list[dict[str, Any]]:
    """The tasks of ``run_id``, once it is over; whatever did not succeed fails the test, with its log."""
    end = time.monotonic() + within_s
    while True:
        run = up.api.dag_run("f1_training", run_id)
        if run is not None and run["state"] in ("success", "failed"):
            break
        assert time.monotonic() < end, f"{run_id} did not end in time"
        time.sleep(1.0)
    tasks = up.api.task_instances("f1_training", run_id)
    # Nothing is asked where no gate was closed, and only a new champion is served.
    skipped = ("ask_to_open", ".serve", "_to_vertex")
    bad = [
        t for t in tasks
        if t["state"] != "success" and not (t["state"] == "skipped" and t["task_id"].endswith(skipped))
    ]  # fmt: skip
    logs = "\n".join(up.api.task_log("f1_training", run_id, t) for t in bad if t["state"] == "failed")
    assert not bad, f"{[(t['task_id'], t['state']) for t in bad]}\n{logs}"
    return tasks
