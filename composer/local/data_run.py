"""One run of the DAG ``f1_data``: laps from where somebody keeps them into the tables that models are trained on."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from composer.local import laps
from composer.local.airflow_api import AirflowApi
from composer.local.follow import RunFollower, StageRow, span, worst
from composer.local.places import Places
from f1_training.data.good import DAG_ID

#: Tasks of the DAG, and how they are called in the table that a person sees.
STAGES: Mapping[str, str] = {"ingest": "ingest", "process": "process", "validate": "check tables", "publish": "publish"}
DEADLINE_S = 3600.0


class DataRefusedError(Exception):
    """The laps are not in the tables; the message has the failed task's last lines."""


def check_laps(path: Path) -> laps.LapsSource | None:
    """Refuse what cannot be laps within a second, before anything is started; None where only the DAG can tell.

    Raises:
        LapsError: naming the file, the problem and the fix.
    """
    if path.suffix.lower() == ".csv":
        if not path.is_file():
            raise laps.LapsError(f"{path} does not exist; give a file of laps, or a folder with some")
        return None
    if path.is_dir() and not (path / "laps.parquet").exists():
        if any(found.suffix.lower() in (".csv", ".parquet") for found in path.rglob("laps*")):
            return None
    return laps.validate_laps(path)


def source_of(path: Path | None, seed: int) -> str:
    """The Param ``source`` for laps at ``path``, or for simulated ones."""
    return f"file://{path.resolve()}" if path else f"simulator:{seed}"


def bring(
    api: AirflowApi, places: Places, source: str, *, say: Callable[[str], None], check: Callable[[], None]
) -> list[StageRow]:
    """Run the DAG to its end; a row a task.

    Another source than last time is other data: it takes the place of what is there, and is compared with nothing.

    Raises:
        DataRefusedError: the run failed.
        TimeoutError: it did not end in time.
    """
    noted = places.root / "laps.json"
    anew = not noted.exists() or json.loads(noted.read_text()).get("source") != source
    run_id = f"make-data-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:4]}"
    conf = {"source": source, "replace": anew, "announce": False}
    api.call("POST", f"/dags/{DAG_ID}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})
    say(f"run {run_id}: {api.url}/dags/{DAG_ID}/runs/{run_id}")
    follower = RunFollower(api, run_id, dag_id=DAG_ID, say=say, check=check)
    try:
        state, tasks = follower.follow(deadline_s=DEADLINE_S)
    except BaseException:
        api.fail_run(DAG_ID, run_id)
        raise
    if state != "success":
        raise DataRefusedError(_why(api, run_id, tasks))
    temporary = noted.with_suffix(".new")
    temporary.write_text(json.dumps({"source": source}))
    temporary.replace(noted)
    say(_told(api.xcom(DAG_ID, run_id, "validate")))
    return _rows(tasks)


def _rows(tasks: Sequence[Mapping[str, Any]]) -> list[StageRow]:
    mine = {stage: [task for task in tasks if task["task_id"] == name] for name, stage in STAGES.items()}
    return [StageRow(stage=s, state=worst(found), seconds=span(found)) for s, found in mine.items() if found]


def _told(tables: Mapping[str, Mapping[str, Any]]) -> str:
    found = tables["laps"]
    shares = ", ".join(f"{tables[name]['rows']:,} {name}" for name in ("train", "validation", "test"))
    return f"{found['rows']:,} laps of {found['groups']} races in BigQuery: {shares}"


def _why(api: AirflowApi, run_id: str, tasks: Sequence[Mapping[str, Any]]) -> str:
    failed = [task for task in tasks if task["state"] == "failed"]
    if not failed:
        return f"the run {run_id} failed, and none of its tasks did: it was ended by hand"
    first = min(failed, key=lambda task: task["end_date"] or "")
    log = api.task_log(DAG_ID, run_id, first)
    what = f"{first['task_id']} of the laps failed; the end of its log:\n{log}"
    if first["task_id"] not in ("ingest", "validate"):
        return what
    return (
        f"{what}\n\nThe tables that models are trained on are as they were, and the gates are closed. To go on: mend "
        "the laps, then `make run` with them again; it will say how the gate is opened"
    )
