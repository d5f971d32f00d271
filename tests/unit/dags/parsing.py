"""Parse a DAG file as Airflow does, in a process of its own, and say what came of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
DAGS = REPOSITORY / "dags"
HEAVY = ("dask", "distributed", "xgboost", "lightgbm", "pandas", "numpy", "pyarrow", "google", "kubernetes", "fsspec")

#: Parses an empty DAG, then ours, in a process of its own as Airflow does; what is loaded after each.
PARSE = """
import json, runpy, sys, time
empty, file = sys.argv[1:]
seconds, modules = [], []
for path in (empty, file):
    began = time.process_time()
    found = runpy.run_path(path)["dag"]
    seconds.append(time.process_time() - began)
    modules.append(sorted(sys.modules))
edges = {t.task_id: sorted(t.downstream_task_ids) for t in found.tasks}
groups = sorted(g for g in found.task_group.get_task_group_dict() if g)
params = {name: found.params.get_param(name) for name in found.params}
form = {name: {"default": p.value, **p.schema, "description": p.description} for name, p in params.items()}
retries = {t.task_id: [t.retries, type(t.retry_policy).__name__] for t in found.tasks}
print(json.dumps({"retries": retries, "seconds": seconds, "modules": modules, "edges": edges, "groups": groups, "form": form,
                  "schedule": str(found.schedule), "catchup": found.catchup, "start": str(found.start_date), "doc": found.doc_md, "pools": {t.task_id: t.pool for t in found.tasks}, "runs": found.max_active_runs}))
"""


#: A parse takes seconds, and what it gives does not change.
_PARSED: dict[str, Any] = {}


def parsed(folder: Path, dag_id: str) -> Any:
    """What parsing ``dags/<dag_id>.py`` takes and gives; ``folder`` is for what Airflow writes."""
    if dag_id not in _PARSED:
        _PARSED[dag_id] = _parse(folder, dag_id)
    return _PARSED[dag_id]


def _parse(folder: Path, dag_id: str) -> Any:
    empty = folder / "empty.py"
    empty.write_text("from airflow.sdk import DAG\ndag = DAG('empty', schedule=None)\n")
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(empty), str(DAGS / f"{dag_id}.py")],
        env={
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
            # With what is compiled already, as on Composer.
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(folder)),
            "AIRFLOW_HOME": str(folder),
            "HOME": str(folder),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
