"""Follow a DAG run: one line a change of a task's state, the training's progress, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from composer.local.airflow_api import AirflowApi, AirflowApiError

DAG_ID = "f1_training"
STAGES = ("plan", "gate", "snapshot", "validate", "train", "evaluate", "register", "serve")
ENDED = ("success", "failed", "upstream_failed", "skipped", "removed")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRow:
    """One row of the table: the stage's state and how long its tasks took, in seconds."""

    stage: str
    state: str
    seconds: float | None


def stage_of(task_id: str) -> str:
    """The stage that a task belongs to: its innermost TaskGroup that is one, such as ``model.train.train``."""
    parts = [p for p in task_id.split(".") if p in STAGES]
    return parts[0] if parts else task_id


def _is_stage(task_id: str) -> bool:
    """Whether it is the task that the stage is named after."""
    return task_id.rpartition(".")[2] == stage_of(task_id)


def stage_rows(tasks: Sequence[Mapping[str, Any]]) -> list[StageRow]:
    """One row a stage, in the pipeline's order, from the task instances of a run."""
    rows = []
    for stage in STAGES:
        mine = [t for t in tasks if stage_of(t["task_id"]) == stage]
        if mine:
            rows.append(StageRow(stage=stage, state=worst(mine), seconds=span(mine)))
    return rows


def worst(tasks: Sequence[Mapping[str, Any]]) -> str:
    """The state of a stage: that of the task that holds it up most."""
    states = [t["state"] or "waiting" for t in tasks]
    for state in ("failed", "upstream_failed", "up_for_retry", "running", "deferred", "queued", "waiting"):
        if state in states:
            return state
    return "success" if "success" in states else states[0]


def span(tasks: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds from the first start to the last end, None where nothing has ended."""
    starts = [_time(t["start_date"]) for t in tasks if t.get("start_date")]
    ends = [_time(t["end_date"]) for t in tasks if t.get("end_date")]
    if not starts or not ends:
        return None
    return round(max(0.0, max(ends) - min(starts)), 1)


def _time(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class RunFollower:
    """Polls one run until it ends. ``say`` gets a line for each change; ``check`` raises if the stack breaks.

    ``models`` names the models by the map index of their tasks.
    """

    def __init__(
        self,
        api: AirflowApi,
        run_id: str,
        *,
        say: Callable[[str], None],
        check: Callable[[], None],
        dag_id: str = DAG_ID,
        models: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._api, self._run_id, self._dag_id = api, run_id, dag_id
        self._say, self._check = say, check
        self._models, self._names = models, list[str]()
        self._seen: dict[tuple[str, int], str | None] = {}

    def follow(self, *, deadline_s: float, interval_s: float = 0.5) -> tuple[str, list[dict[str, Any]]]:
        """The run's last state and its task instances.

        Raises:
            TimeoutError: it did not end in time.
        """
        end = time.monotonic() + deadline_s
        while True:
            self._check()
            try:
                run = self._api.dag_run(self._dag_id, self._run_id)
                tasks = self._api.task_instances(self._dag_id, self._run_id)
            except AirflowApiError as e:
                if e.status not in (0, 500, 503):
                    raise
                run, tasks = None, []  # busy: asked again below
            self._report(tasks)
            if run is not None and run["state"] in ("success", "failed"):
                return run["state"], tasks
            if time.monotonic() > end:
                raise TimeoutError(f"the run {self._run_id} did not end within {deadline_s:.0f} s")
            time.sleep(interval_s)

    def _report(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        for task in sorted(tasks, key=lambda t: t.get("start_date") or "9"):
            key = (task["task_id"], task["map_index"])
            state = task["state"]
            if state == self._seen.get(key) or state not in (*ENDED, "running", "up_for_retry"):
                continue
            self._seen[key] = state
            if state == "skipped" and not _is_stage(task["task_id"]):
                continue  # what the stage may do beside its own task, and did not need to
            seconds = f" {task['duration']:.1f} s" if state in ENDED and task.get("duration") else ""
            self._say(f"{stage_of(task['task_id']):<10} {state}{seconds}{self._of(task['map_index'])}")

    def _of(self, number: int) -> str:
        """Which of several models a task is about; they are known once they are planned."""
        if number < 0:
            return ""
        self._names = self._names or list(self._models())
        return f"  {self._names[number]}" if 1 < len(self._names) > number else ""
