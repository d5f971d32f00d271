"""``make up`` and ``make down``: the stack in the background, to look at and to trigger runs by hand."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil

from composer.local import airflow_server, monitoring
from composer.local.places import REPOSITORY, Places, python
from composer.local.ports import PortInUseError, require_free
from composer.local.running import StackInfo, running_stack
from composer.local.stack import READY_S

DEFAULT_PORT = 8080


def describe(info: StackInfo, places: Places) -> str:
    """What a person needs to use the stack."""
    return "\n".join(
        (
            f"Airflow     {info.airflow}",
            f"login       {airflow_server.USER} / {airflow_server.password(places)}",
            f"run a DAG   {info.airflow}/dags/f1_training  (button Trigger)",
            f"predictions {info.serving}/docs",
            f"kubectl     KUBECONFIG={info.kubeconfig} kubectl get pods -A",
            f"BigQuery    BIGQUERY_EMULATOR_HOST={info.bigquery}",
            *_monitoring(info, places),
            "metrics     make metrics  (while a run trains)",
            "stop        make down",
        )
    )


def _monitoring(info: StackInfo, places: Places) -> tuple[str, ...]:
    """Where the dashboard is, or in one line why there is none."""
    if info.prometheus:
        return (f"dashboard   {info.prometheus}/user/", f"Prometheus  {info.prometheus}")
    why = monitoring.HOW if monitoring.program() is None else f"off: see {places.logs / 'prometheus.log'}"
    return (f"dashboard   {why}",)


def up(places: Places, port: int) -> int:
    """Start the stack unless it is up, and say where it answers."""
    info = running_stack(places)
    if info is None:
        require_free(port, "Airflow's API server", f"make up PORT={port + 1}")
        log = places.logs / "stack.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [python(), "-m", "composer.local.stack", "--port", str(port)],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + READY_S + 60
        while (info := running_stack(places)) is None:
            if process.poll() is not None or time.monotonic() > end:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                print(
                    f"error: the stack did not come up; the end of {log}:\n{log.read_text()[-2000:]}", file=sys.stderr
                )
                return os.EX_UNAVAILABLE
            time.sleep(0.2)
        _fill_warehouse(info)
    print(describe(info, places))
    return os.EX_OK


def _fill_warehouse(info: StackInfo) -> None:
    """Simulated laps where there are none yet, so that the first run that somebody triggers has rows to train on."""
    from composer.local import laps

    report = laps.ensure_laps(laps.emulator_client(info.bigquery))
    if report is not None:
        print(f"loaded {report.rows:,} simulated laps; real ones: make run LAPS=path")


def down(places: Places) -> int:
    """Stop the stack and everything that it started."""
    info = running_stack(places)
    if info is None:
        print("nothing is up")
        return os.EX_OK
    process = psutil.Process(info.pid)
    everything = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(everything, timeout=30)
    for left in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    places.stack_file.unlink(missing_ok=True)
    print("stopped")
    return os.EX_OK


def main() -> int:
    """Parse the command line of ``python -m composer.local.up``."""
    parser = argparse.ArgumentParser(description="the stack in the background")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--port", default=str(DEFAULT_PORT))
    arguments = parser.parse_args()
    places = Places.default()
    if arguments.command == "down":
        return down(places)
    if not arguments.port.isdigit() or not 1 <= int(arguments.port) <= 65535:
        print(f"error: PORT is {arguments.port!r}; a number from 1 to 65535", file=sys.stderr)
        return os.EX_USAGE
    try:
        return up(places, int(arguments.port))
    except PortInUseError as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
