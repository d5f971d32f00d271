"""What is shown and written when a run has ended, of one model and of several."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from composer.local.follow import StageRow
from composer.local.outcome import summary, table_of, write_last_run

START = StageRow(stage="start", state="success", seconds=12.0)
RESULT: dict[str, Any] = {
    "model_type": "fuel_consumption",
    "version": "v1",
    "champion": False,
    "reason": "no better",
    "engine": "lightgbm",
    "rounds": 9,
    "workers": 2,
    "sha256": "0123456789abcdef0",
    "model_uri": "file:///m",
    "metrics": {"test": 0.03, "test_mae_kg": 0.03, "baseline_mae_kg": 0.2},
}


def task(stage: str, state: str, seconds: int, map_index: int) -> dict[str, Any]:
    dates = {"start_date": "2026-11-23T22:00:00Z", "end_date": f"2026-11-23T22:00:{seconds:02d}Z"}
    return {"task_id": f"model.{stage}.{stage}", "state": state, "map_index": map_index, **dates}


PLAN = {**task("plan", "success", 1, -1), "task_id": "plan"}


def shown(tasks: list[dict[str, Any]], models: list[str]) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=200)
    console.print(table_of([START], tasks, models))
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_one_model_has_a_row_a_stage() -> None:
    lines = shown([PLAN, task("train", "success", 9, 0)], ["fuel_consumption"])
    assert lines == [
        ["stage", "state", "seconds"],
        ["start", "success", "12.0"],
        ["plan", "success", "1.0"],
        ["train", "success", "9.0"],
    ]


def test_several_models_stand_side_by_side() -> None:
    tasks = [
        PLAN,
        task("validate", "skipped", 1, -1),
        task("train", "success", 9, 0),
        task("train", "failed", 4, 1),
        task("serve", "upstream_failed", 4, 1),
    ]
    lines = shown(tasks, ["a", "b"])
    assert lines == [
        ["stage", "all", "a", "b"],
        ["start", "12.0", "s"],
        ["plan", "1.0", "s"],
        ["train", "9.0", "s", "failed"],
        ["serve", "upstream_failed"],
    ]


def test_a_version_is_told_with_its_error_in_its_unit() -> None:
    lines = summary(RESULT).splitlines()
    assert lines[0] == "fuel_consumption v1 (not promoted: no better)"
    assert lines[-1] == "  test error 0.03 kg (baseline 0.2 kg)"
    metrics = {"macro_f1": 0.7, "accuracy": 0.75, "baseline_accuracy": 0.45}
    lines = summary({**RESULT, "champion": True, "report_uri": "file:///r", "metrics": metrics}).splitlines()
    assert lines[0] == "fuel_consumption v1 (champion)"
    assert lines[-2:] == ["  report: file:///r", "  macro F1 0.700, accuracy 0.750 (baseline 0.450)"]


def test_what_a_run_cost_is_said_to_be_an_estimate_and_older_versions_say_nothing() -> None:
    cost = {"estimated_usd": 0.384, "hours": 0.37, "machines": "2 n1-standard-8", "basis": "estimated with list prices"}
    assert "  about 0.38 USD on 2 n1-standard-8, estimated with list prices" in summary({**RESULT, "cost": cost})
    assert "USD" not in summary({**RESULT, "cost": None}) + summary(RESULT)


def test_the_last_run_has_one_model_at_the_top_and_several_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "last_run.json"
    write_last_run(path, "r1", {"train": 9.0}, [RESULT])
    one = json.loads(path.read_text())
    assert (one["version"], one["run_id"], one["models"]) == ("v1", "r1", [RESULT])
    other = {**RESULT, "model_type": "brake_bias"}
    write_last_run(path, "r2", {"train": 9.0}, [RESULT, other])
    several = json.loads(path.read_text())
    assert several == {"run_id": "r2", "seconds": {"train": 9.0}, "models": [RESULT, other]}
    assert [p.name for p in tmp_path.iterdir()] == ["last_run.json"]
