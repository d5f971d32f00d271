"""Training's progress on the terminal: follows the chief pods' logs through the Kubernetes API, as `kubectl logs -f`.

Lines of events ``boundary``, ``resumed`` and the like are printed; on a terminal a bar shows the rounds in between.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

CHIEF = "app.kubernetes.io/component=chief"
#: Events that say how far the job is; ``of`` is rounds in these, and workers in others.
MOVES = ("progress", "boundary")
SAID = ("boundary", "resumed", "lost", "paused", "group", "changed", "cut-short", "finished", "outcome", "library")


class ChiefLogReader:
    """Finds chief pods that are new and hands each of their log records to ``on_record``; ends when told to."""

    def __init__(self, api: Any, on_record: Callable[[Mapping[str, Any]], None], stop: threading.Event) -> None:
        self._api = api
        self._on_record = on_record
        self._stop = stop
        self._seen: set[str] = set()

    def run(self) -> None:
        """Follow until ``stop``. What goes wrong here never ends the run: the log is in Airflow too."""
        self._seen = {p.metadata.uid for p in self._pods()}
        while not self._stop.wait(0.5):
            for pod in self._pods():
                started = (pod.status.phase or "Pending") != "Pending"
                if started and pod.metadata.uid not in self._seen:
                    self._seen.add(pod.metadata.uid)
                    self._follow(pod.metadata.name, pod.metadata.namespace)

    def _pods(self) -> list[Any]:
        with contextlib.suppress(Exception):
            found: list[Any] = self._api.list_pod_for_all_namespaces(label_selector=CHIEF, _request_timeout=10).items
            return found
        return []

    def _follow(self, name: str, namespace: str) -> None:
        with contextlib.suppress(Exception):
            response = self._api.read_namespaced_pod_log(name, namespace, follow=True, _preload_content=False)
            for line in _lines(response.stream(amt=None)):
                if self._stop.is_set():
                    return
                record = _record(line)
                if record is not None:
                    self._on_record(record)


def _lines(chunks: Any) -> Any:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _record(line: bytes) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None


class TrainingProgress:
    """Shows progress while the block runs. A second model's bar replaces the first's when its chief starts."""

    def __init__(self, kubeconfig: str, console: Console) -> None:
        self._kubeconfig = kubeconfig
        self._console = console
        self._stop = threading.Event()
        columns = (
            TextColumn("          training"),
            BarColumn(),
            TextColumn("round {task.completed:.0f}/{task.total:.0f}"),
        )
        self._bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._task = self._bar.add_task("training", total=None, visible=False)
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._bar.stop()

    def show(self, record: Mapping[str, Any]) -> None:
        """One record of the chief's log."""
        if record["event"] in MOVES:
            done = record["round"] < record["of"]
            self._bar.update(self._task, completed=record["round"], total=record["of"], visible=done)
        if record["event"] in SAID:
            line = f"{time.strftime('%H:%M:%S')}             {record['message']}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _follow(self) -> None:
        from kubernetes import client, config

        with contextlib.suppress(Exception):
            api = config.new_client_from_config(self._kubeconfig)
            ChiefLogReader(client.CoreV1Api(api), self.show, self._stop).run()
