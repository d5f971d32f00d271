"""Which stack is up: the one that a live process of ours holds, and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from composer.local.airflow_server import AirflowPorts
from composer.local.places import Places
from composer.local.running import StackGoneError, StackInfo, require_up, running_stack


def stack(pid: int) -> StackInfo:
    ports = AirflowPorts(api=18080, worker_logs=1, trigger_logs=2)
    return StackInfo(pid=pid, ports=ports, bigquery="", bigquery_storage="", kubernetes="", kubeconfig="", serving="")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(root=tmp_path)


@pytest.fixture
def holder(places: Places) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like one that holds a stack up."""
    words = [
        sys.executable,
        "-S",
        "-c",
        "import sys; print('up', flush=True); sys.stdin.read()",
        "composer.local.stack",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        places.stack_file.parent.mkdir(parents=True, exist_ok=True)
        places.stack_file.write_text(json.dumps(asdict(stack(process.pid))))
        yield process
        process.kill()


def test_a_stack_is_up_as_long_as_its_process_is(places: Places, holder: subprocess.Popen[bytes]) -> None:
    found = running_stack(places)
    assert found == stack(holder.pid)
    require_up(places, found)
    holder.kill()
    holder.wait()
    assert running_stack(places) is None
    with pytest.raises(
        StackGoneError, match=r"http://127\.0\.0\.1:18080 was stopped meanwhile: start it again with `make up`"
    ):
        require_up(places, found)


def test_another_stack_is_not_the_one_that_was_up(places: Places, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StackGoneError):
        require_up(places, stack(holder.pid + 1))


def test_a_process_that_has_the_number_now_is_no_stack(places: Places) -> None:
    places.stack_file.parent.mkdir(parents=True, exist_ok=True)
    places.stack_file.write_text(json.dumps(asdict(stack(os.getppid()))))
    assert running_stack(places) is None
