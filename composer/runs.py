"""``make runs``: the attempts of the newest runs, why each failed and what was decided.

Asks the Airflow that ``make up`` started, or any other by ``AIRFLOW_URL`` and ``AIRFLOW_TOKEN`` (for Cloud Composer the
environment's web server, and ``gcloud auth print-access-token``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from composer.local.airflow_api import AirflowApi, AirflowApiError
from composer.local.places import Places
from composer.local.running import running_stack

HEADINGS = ("run", "task", "attempt", "state", "began", "ended", "workers", "memory", "reason", "decision")


def rows(api: AirflowApi, dag_id: str, last: int) -> Iterator[tuple[str, ...]]:
    """One row an attempt, of the ``last`` newest runs of ``dag_id``, the newest run first."""
    for run in api.dag_runs(dag_id, last):
        run_id = run["dag_run_id"]
        for task in sorted(api.task_instances(dag_id, run_id), key=lambda t: (t["map_index"], t["start_date"] or "")):
            for attempt in api.attempts(dag_id, run_id, task):
                yield _row(run_id, task, attempt)


def _row(run_id: str, task: Mapping[str, Any], attempt: Mapping[str, Any]) -> tuple[str, ...]:
    size, decision = attempt.get("size") or {}, attempt.get("decision") or {}
    name = task["task_id"].rpartition(".")[2]
    number = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
    decided = f"retry in {decision['delay_s']:.0f} s" if decision.get("retry") else "no retry" if decision else ""
    return (
        run_id,
        f"{name}{number}",
        str(attempt["number"]),
        attempt["state"],
        _minute(attempt.get("began_at")),
        _minute(attempt.get("ended_at")),
        str(size.get("num_workers", "")),
        str((size.get("resources") or {}).get("memory", "")),
        attempt.get("reason") or "",
        f"{decided}: {decision['why']}" if decided else "",
    )


def _minute(stamp: str | None) -> str:
    return (stamp or "").removesuffix("Z").replace("T", " ")


def table(headings: Sequence[str], found: Sequence[Sequence[str]]) -> str:
    """Plain columns, as wide as their widest cell."""
    widths = [max(len(row[i]) for row in (headings, *found)) for i in range(len(headings))]
    lines = []
    for row in (headings, *found):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def connect(environment: Mapping[str, str]) -> AirflowApi | None:
    """The Airflow to ask, None when there is none."""
    if environment.get("AIRFLOW_URL"):
        return AirflowApi(environment["AIRFLOW_URL"].rstrip("/"), token=environment.get("AIRFLOW_TOKEN", ""))
    places = Places.default()
    info = running_stack(places)
    return info.api(places) if info else None


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dag", default="f1_training")
    parser.add_argument("--last", type=int, default=10)
    arguments = parser.parse_args()
    api = connect(os.environ)
    if api is None:
        print("error: nothing is up: start it with `make up`, or set AIRFLOW_URL and AIRFLOW_TOKEN", file=sys.stderr)
        return os.EX_UNAVAILABLE
    try:
        found = list(rows(api, arguments.dag, arguments.last))
    except AirflowApiError as e:
        print(f"error: {e}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    print(table(HEADINGS, found) if found else f"no attempts in the last {arguments.last} runs of {arguments.dag}")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
