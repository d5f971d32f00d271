"""SIGTERM at any moment, and whatever the pod waits for: it ends in time, with a reason."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.snapshots import made_up_rows, spec_for
from tests.integration.jobs.pods import COMPILED, REPOSITORY, make_certificates
from trainer.contract import Engine, FailureReason, Outcome

EARLY = """
import os, runpy, signal, sys
# As soon as the program could take it, and long before it has imported what it needs.
import trainer.termination as termination
remember = termination.remember
termination.remember = lambda: (remember(), os.kill(os.getpid(), signal.SIGTERM))
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""
LATE = """
import os, sys, time
from trainer import termination
termination.end_within(lambda: print("said", flush=True) or os.EX_TEMPFAIL, 0.2)
time.sleep(600)
"""


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **COMPILED, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["trainer.chief", "trainer.worker", "trainer.evaluate"])
def test_a_signal_while_the_program_imports_is_not_lost(module: str, tmp_path: Path) -> None:
    spec = spec_for(made_up_rows(), Engine.XGBOOST, num_workers=2)
    done = run(
        EARLY,
        module,
        TRAINING_SPEC=spec.to_json(),
        TRAINING_JOB_ID=spec.job_id,
        TRAINING_TERMINATION_LOG=str(tmp_path / "said"),
        TRAINING_HEALTH_PORT="0",
        TRAINING_CACHE_DIR=str(tmp_path / "cache"),
        TRAINING_TLS_DIR=str(make_certificates(tmp_path / "tls")),
        TRAINING_CHIEF_ADDRESS="127.0.0.1:9",
        WORKER_INDEX="0",
        TOTAL_WORKERS="2",
    )
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert Outcome.from_json((tmp_path / "said").read_text()).reason is FailureReason.PREEMPTED


def test_the_last_word_is_said_whatever_is_waited_for() -> None:
    began = time.monotonic()
    done = run(LATE)
    assert (done.returncode, done.stdout) == (os.EX_TEMPFAIL, "said\n")
    assert time.monotonic() - began < 30


def test_without_a_signal_nothing_is_told() -> None:
    program = "from trainer import termination as t; t.remember(); assert not t.was_told(); t.stop_if_told()"
    assert run(program).returncode == 0
