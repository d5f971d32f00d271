"""Nothing that a supervisor started outlives it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from composer.local.processes import ProcessFailedError, Supervisor

ENV = dict(os.environ)


def wait_for(path: Path, deadline_s: float = 10) -> str:
    end = time.monotonic() + deadline_s
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)
    return path.read_text()


def gone(pid: int, deadline_s: float = 10) -> bool:
    end = time.monotonic() + deadline_s
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def script(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(text))
    return [sys.executable, str(path)]


GRANDCHILD = """
    import pathlib, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    pathlib.Path({pid!r}).write_text(f"{{child.pid}}\\n")
    time.sleep(600)
"""


def test_what_is_not_vital_may_end(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("extra", ["false"], ENV, tmp_path, vital=False)
        child.process.wait(10)
        supervisor.check()
        with pytest.raises(ProcessFailedError, match="extra ended with code 1"):
            child.check()


def test_stops_what_ignores_sigterm_and_what_it_left_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    supervisor = Supervisor(tmp_path, grace_s=0.2)
    child = supervisor.start("stubborn", script(tmp_path, GRANDCHILD.format(pid=str(pid))), ENV, tmp_path)
    grandchild = int(wait_for(pid))
    supervisor.stop()
    assert child.process.returncode == -signal.SIGKILL
    assert gone(grandchild)


def test_finds_what_hides_its_environment(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"""
        import os, pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={{}}, start_new_session=True)
        pathlib.Path({str(pid)!r}).write_text(f"{{child.pid}}\\n")
        time.sleep(600)
    """
    supervisor = Supervisor(tmp_path, grace_s=0.2)
    supervisor.start("parent", script(tmp_path, program), ENV, tmp_path)
    grandchild = int(wait_for(pid))
    supervisor.stop()
    assert gone(grandchild)


def test_a_process_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        child = supervisor.start("weak", script(tmp_path, "raise SystemExit('no such thing')"), ENV, tmp_path)
        child.process.wait(10)
        with pytest.raises(ProcessFailedError, match=r"weak ended with code 1[\s\S]*no such thing"):
            supervisor.check()


def test_killed_outright_its_children_end_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"""
        import os, pathlib, sys, time
        from composer.local.processes import Supervisor
        s = Supervisor(pathlib.Path({str(tmp_path)!r}))
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        c = s.start("sleeper", sleep, dict(os.environ), pathlib.Path("."))
        pathlib.Path({str(pid)!r}).write_text(f"{{c.process.pid}}\\n")
        time.sleep(600)
    """
    root = Path(__file__).parents[3]
    process = subprocess.Popen(script(tmp_path, program), env={**ENV, "PYTHONPATH": str(root)})
    try:
        sleeper = int(wait_for(pid))
    finally:
        process.kill()
        process.wait(10)
    assert gone(sleeper)
