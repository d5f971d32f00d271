"""The whole stack on one machine: the stand-ins of BigQuery and Kubernetes, and a real Airflow that talks to them.

Nothing in the product knows about it. What differs from Google Cloud is what this module puts into the environment:
endpoints, two connections and one variable.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from composer.local import airflow_server, monitoring
from composer.local.airflow_api import AirflowApi
from composer.local.places import REPOSITORY, Places, python, tool
from composer.local.ports import HOST, PortInUseError, free_ports, kept_ports, require_free
from composer.local.processes import ProcessFailedError, Supervisor
from composer.local.running import NAMESPACE, PROJECT, SERVED, StackInfo, environment, running_stack
from f1_training.core.settings import POOL

#: What ports are kept for; all of them whoever starts a stack, or one would forget another's.
PORTS = ("bigquery", "storage", "kubernetes", "serving", "prometheus", "otlp")
JOBS_AT_ONCE = 4
READY_S = 180.0


class Stack:
    """Starts everything; ``start_stand_ins`` first, so that laps load while Airflow comes up."""

    def __init__(
        self, places: Places, supervisor: Supervisor, *, port: int | None = None, monitored: bool = False
    ) -> None:
        self._places = places
        self._supervisor = supervisor
        self._monitored = monitored
        self._monitoring: monitoring.Monitoring | None = None
        api, worker_logs, trigger_logs = free_ports(3)
        self._ports = airflow_server.AirflowPorts(api=port or api, worker_logs=worker_logs, trigger_logs=trigger_logs)
        self.info: StackInfo | None = None

    def start_stand_ins(self) -> StackInfo:
        """BigQuery and Kubernetes, ready to answer; Airflow's metadata migration begins beside them."""
        places, run = self._places, self._places.folder("run")
        bigquery_ready, kubernetes_ready = run / "bigquery.json", run / "kubernetes.json"
        for path in (bigquery_ready, kubernetes_ready):
            path.unlink(missing_ok=True)
        base = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
        kubeconfig = run / "kubeconfig"
        ports = kept_ports(run / "ports.json", PORTS)
        self._supervisor.start(
            "bigquery",
            _module("composer.local.bigquery", places.folder("warehouse"), bigquery_ready, ports["bigquery"])
            + ["--storage-port", str(ports["storage"]), "--project", PROJECT],
            base,
            REPOSITORY,
        )
        self._supervisor.start(
            "kubernetes",
            _module("composer.local.kubernetes", places.folder("kubernetes"), kubernetes_ready, ports["kubernetes"])
            + ["--kubeconfig", str(kubeconfig), "--python", python(), "--pod-env", f"PYTHONPATH={REPOSITORY}"],
            base,
            REPOSITORY,
        )
        bigquery, kubernetes = self._ready(bigquery_ready), self._ready(kubernetes_ready)
        prometheus, receiver = self._watch(ports, kubernetes["server"])
        self.info = StackInfo(
            pid=os.getpid(),
            ports=self._ports,
            bigquery=bigquery["rest"],
            bigquery_storage=bigquery["storage"],
            kubernetes=kubernetes["server"],
            kubeconfig=kubernetes["kubeconfig"],
            serving=f"http://{HOST}:{ports['serving']}",
            prometheus=prometheus,
            otlp=receiver,
        )
        self._supervisor.start(
            "serving",
            [python(), "-m", "trainer.serve"],
            {
                **base,
                "AIP_STORAGE_URI": f"{places.storage_uri}/models/{SERVED}",
                "AIP_HTTP_PORT": str(ports["serving"]),
                "SERVE_HOST": HOST,
                "SERVE_POLL_S": "1",
                "SERVE_WAIT": "1",
            },
            REPOSITORY,
        )
        return self.info

    def _watch(self, ports: Mapping[str, int], kubernetes: str) -> tuple[str, str]:
        """Start Prometheus, if this stack is to have it and it is at hand; its address, and the receiver's."""
        prometheus = monitoring.program() if self._monitored else None
        if prometheus is None:
            return "", ""
        self._monitoring = monitoring.Monitoring(self._places, prometheus, ports)
        self._monitoring.start(self._supervisor, kubernetes, NAMESPACE, self._ports.address)
        return self._monitoring.address, self._monitoring.receiver

    def start_airflow(self) -> None:
        """Migrate the metadata database and start Airflow's components; they come up in the background."""
        assert self.info is not None
        settings = environment(self._places, self.info)
        self._migrate(settings)
        for name, arguments in airflow_server.COMPONENTS.items():
            self._supervisor.start(f"airflow-{name}", [tool("airflow"), *arguments], settings, self._places.root)

    def _migrate(self, settings: dict[str, str]) -> None:
        """Bring the metadata database to this Airflow's schema; noted in a file, as even looking takes seconds."""
        database = settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        state = f"{version('apache-airflow-core')} {database}"
        noted = self._places.folder("airflow") / ".migrated"
        if noted.exists() and noted.read_text() == state:
            return
        log = self._places.logs / "migrate.log"
        with log.open("wb") as output:
            done = subprocess.run(  # the components refuse to start on an older schema
                [tool("airflow"), "db", "migrate"],
                env=settings,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=READY_S,
            )
        if done.returncode:
            raise ProcessFailedError(f"airflow db migrate failed; see {log}")
        noted.write_text(state)

    def wait_for_airflow(self) -> AirflowApi:
        """The client, once every component is healthy."""
        assert self.info is not None
        api = self.info.api(self._places)
        airflow_server.wait_until_healthy(api, self._supervisor.check, deadline_s=READY_S)
        api.ensure_pool(POOL, JOBS_AT_ONCE, "jobs that run in Kubernetes")
        return api

    def announce(self) -> None:
        """Write ``stack.json``: others may use this stack, it stays until it is told to stop."""
        assert self.info is not None
        if self._monitoring is not None and not self._monitoring.ready():
            self.info = replace(self.info, prometheus="")
        temporary = self._places.stack_file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self.info)))
        temporary.replace(self._places.stack_file)

    def check(self) -> None:
        """Raise :class:`ProcessFailedError` if a process of the stack has ended."""
        self._supervisor.check()

    def close(self) -> None:
        """Forget the announcement; the supervisor stops the processes."""
        info = running_stack(self._places)
        if info is not None and info.pid == os.getpid():
            self._places.stack_file.unlink(missing_ok=True)

    def _ready(self, path: Path, deadline_s: float = 60.0) -> dict[str, str]:
        end = time.monotonic() + deadline_s
        while not path.exists():
            self._supervisor.check()
            if time.monotonic() > end:
                raise TimeoutError(f"{path.stem} was not ready within {deadline_s:.0f} s; see {self._places.logs}")
            time.sleep(0.05)
        ready: dict[str, str] = json.loads(path.read_text())
        return ready


def _module(name: str, data: Path, ready: Path, port: int) -> list[str]:
    common = ["--data-dir", str(data), "--port", str(port), "--ready-file", str(ready), "--die-with-parent"]
    return [python(), "-m", name, *common]


class StackInUseError(Exception):
    """Another process holds a stack up in the same ``var/``: two would write the same databases."""


@contextlib.contextmanager
def new_stack(places: Places, *, port: int | None = None, monitored: bool = False) -> Iterator[Stack]:
    """A stack that is stopped, with all that it started, when the block ends. ``monitored``: Prometheus beside it.

    Raises:
        StackInUseError: ``var/`` is in use already.
    """
    with _only_one(places), Supervisor(places.logs) as supervisor:
        stack = Stack(places, supervisor, port=port, monitored=monitored)
        try:
            yield stack
        finally:
            stack.close()


@contextlib.contextmanager
def _only_one(places: Places) -> Iterator[None]:
    with (places.folder("run") / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise StackInUseError(
                f"{places.root} is in use by another run: wait for it, or start `make up` once and run beside it"
            ) from e
        yield


def main() -> int:
    """``python -m composer.local.stack``: hold a stack up until SIGTERM (what ``make up`` starts)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    up, stop = threading.Event(), threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        again = stop.is_set()
        stop.set()
        # Coming up takes minutes on a busy machine, and whoever changed their mind does not wait for it.
        if not up.is_set() and not again:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    places = Places.default()
    try:
        require_free(arguments.port, "Airflow's API server", f"make up PORT={arguments.port + 1}")
        with new_stack(places, port=arguments.port, monitored=True) as stack:
            stack.start_stand_ins()
            stack.start_airflow()
            stack.wait_for_airflow()
            stack.announce()
            up.set()
            print("ready", flush=True)
            stop.wait()
    except KeyboardInterrupt:
        print("stopped before it was up", file=sys.stderr)
        return os.EX_TEMPFAIL
    except (PortInUseError, ProcessFailedError, StackInUseError, TimeoutError) as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
