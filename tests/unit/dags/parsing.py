"""Parse a DAG file as Airflow does, in a process that has parsed nothing but an empty DAG, and say what came of it."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
DAGS = REPOSITORY / "dags"
HEAVY = ("dask", "distributed", "xgboost", "lightgbm", "pandas", "numpy", "pyarrow", "google", "kubernetes", "fsspec")

#: Parses an empty DAG, which takes seconds, then each file that it is told in a copy of itself that ends with its answer: what
#: one file loads is not there for the next.
PARSE = """
import json, os, runpy, sys, time

def parse(path):
    began = time.process_time()
    found = runpy.run_path(path)["dag"]
    return found, time.process_time() - began, sorted(sys.modules)

_, _, before = parse(sys.argv[1])
for line in sys.stdin:
    if os.fork():
        _, status = os.wait()
        if status:
            print(flush=True)
        continue
    found, seconds, after = parse(line.strip())
    params = {name: found.params.get_param(name) for name in found.params}
    print(json.dumps({
        "seconds": seconds,
        "modules": [before, after],
        "edges": {t.task_id: sorted(t.downstream_task_ids) for t in found.tasks},
        "groups": sorted(g for g in found.task_group.get_task_group_dict() if g),
        "form": {name: {"default": p.value, **p.schema, "description": p.description} for name, p in params.items()},
        "retries": {t.task_id: [t.retries, type(t.retry_policy).__name__] for t in found.tasks},
        "pools": {t.task_id: t.pool for t in found.tasks},
        "schedule": str(found.schedule),
        "catchup": found.catchup,
        "start": str(found.start_date),
        "doc": found.doc_md,
        "runs": found.max_active_runs,
    }), flush=True)
    os._exit(0)
"""

#: A parse takes seconds, and what it gives does not change.
_PARSED: dict[str, Any] = {}
_PARSERS: list[subprocess.Popen[str]] = []


def parsed(dag_id: str) -> Any:
    """What parsing ``dags/<dag_id>.py`` takes and gives."""
    if dag_id not in _PARSED:
        parser = _parser()
        assert parser.stdin is not None
        assert parser.stdout is not None
        parser.stdin.write(f"{DAGS / dag_id}.py\n")
        parser.stdin.flush()
        answer = parser.stdout.readline()
        assert answer.strip(), f"{dag_id} did not parse; see what it wrote"
        _PARSED[dag_id] = json.loads(answer)
    return _PARSED[dag_id]


def _parser() -> subprocess.Popen[str]:
    if _PARSERS and _PARSERS[0].poll() is None:
        return _PARSERS[0]
    folder = tempfile.TemporaryDirectory()
    empty = Path(folder.name) / "empty.py"
    empty.write_text("from airflow.sdk import DAG\ndag = DAG('empty', schedule=None)\n")
    parser = subprocess.Popen(
        [sys.executable, "-c", PARSE, str(empty)],
        env={
            "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}",
            # With what is compiled already, as on Composer.
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", folder.name),
            "AIRFLOW_HOME": folder.name,
            "HOME": folder.name,
        },
        cwd=folder.name,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        parser.kill()
        parser.wait()
        folder.cleanup()

    atexit.register(end)
    _PARSERS[:] = [parser]
    return parser
