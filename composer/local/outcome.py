"""What a person sees when a run has ended: a table of stages, a column a model, and the versions that it registered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from composer.local.follow import StageRow, stage_rows

COLORS = {"success": "green", "failed": "red", "upstream_failed": "red"}
#: Metrics in the target's unit have it at the end of their names.
ERROR, BASELINE = "test_mae_", "baseline_mae_"


def table_of(before: Sequence[StageRow], tasks: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Table:
    """The rows ``before`` the run, then its stages; of several models side by side, named in order of map index."""
    if len(models) < 2:
        return _one_column([*before, *stage_rows(tasks)])
    # Tasks of the group that are not expanded are nobody's.
    shared = [task for task in tasks if not task["task_id"].startswith("model.")]
    columns = [stage_rows([task for task in tasks if task["map_index"] == number]) for number in range(len(models))]
    table = Table("stage", "all", *models, box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify, column.overflow = "right", "fold"
    for row in [*before, *stage_rows(shared)]:
        table.add_row(row.stage, _shown(row))
    for stage in dict.fromkeys(row.stage for column in columns for row in column):
        cells = [next((_shown(row) for row in column if row.stage == stage), "") for column in columns]
        table.add_row(stage, "", *cells)
    return table


def summary(result: Mapping[str, Any]) -> str:
    """One registered version in a few lines."""
    champion = "champion" if result.get("champion") else f"not promoted: {result.get('reason', '')}"
    lines = [
        f"{result['model_type']} {result['version']} ({champion})",
        f"  {result['engine']}, {result['rounds']} rounds, {result['workers']} workers, sha256 {result['sha256'][:16]}",
        f"  {result['model_uri']}",
    ]
    if result.get("cost"):
        cost = result["cost"]
        lines.append(f"  about {cost['estimated_usd']:.2f} USD on {cost['machines']}, {cost['basis']}")
    if result.get("report_uri"):
        lines.append(f"  report: {result['report_uri']}")
    return "\n".join([*lines, *_told(result["metrics"])])


def write_last_run(path: Path, run_id: str, seconds: Mapping[str, float | None], results: Sequence[Any]) -> None:
    """Write ``path`` at one stroke: the run, with what was registered in ``models``; of one model at the top, too."""
    body = {"run_id": run_id, "seconds": seconds, "models": list(results)}
    if len(results) == 1:
        body = {**results[0], **body}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(body, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)


def _one_column(rows: Sequence[StageRow]) -> Table:
    table = Table("stage", "state", "seconds", box=None, header_style="bold")
    table.columns[2].justify = "right"
    for row in rows:
        color = COLORS.get(row.state, "yellow")
        table.add_row(row.stage, f"[{color}]{row.state}[/]", "" if row.seconds is None else f"{row.seconds:.1f}")
    return table


def _shown(row: StageRow) -> str:
    """Seconds where it went well, else the state."""
    color = COLORS.get(row.state, "yellow")
    went_well = row.state == "success" and row.seconds is not None
    return f"[{color}]{f'{row.seconds:.1f} s' if went_well else row.state}[/]"


def _told(metrics: Mapping[str, float]) -> list[str]:
    for name, value in metrics.items():
        if name.startswith(ERROR):
            unit = name.removeprefix(ERROR)
            baseline = metrics.get(BASELINE + unit)
            beside = "" if baseline is None else f" (baseline {baseline:.4g} {unit})"
            return [f"  test error {value:.4g} {unit}{beside}"]
    if "macro_f1" in metrics:
        baseline = metrics.get("baseline_accuracy", 0.0)
        return [f"  macro F1 {metrics['macro_f1']:.3f}, accuracy {metrics['accuracy']:.3f} (baseline {baseline:.3f})"]
    return []
