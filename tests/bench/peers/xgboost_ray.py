"""Ray Train V2 with XGBoost: one of its workers is killed with SIGKILL while it trains.

Every rank writes a line for each finished round and each matrix that it built, so that all times are seen by all.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench.peers.case import Case, read

KILL_AT_ROUND = 20
CHECKPOINT_ROUNDS = 5
WAIT_S = 240.0
STEP_S = 0.01


def train(config: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray.train
    import xgboost
    from ray.train.xgboost import RayTrainReportCallback

    rank, world = (ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size())
    notes = Path(config["notes"])

    def note(**what: Any) -> None:
        with (notes / f"{rank}-{os.getpid()}.jsonl").open("a") as out:
            out.write(json.dumps({"at": time.time(), "rank": rank, "pid": os.getpid(), **what}) + "\n")

    class Notes(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            note(round=model.num_boosted_rounds())
            return False

    features, target = read(config["rows"], rank, world)
    began = time.time()
    matrix = xgboost.QuantileDMatrix(features, target, max_bin=config["params"]["max_bin"], nthread=config["threads"])
    note(built_s=time.time() - began)
    checkpoint = ray.train.get_checkpoint()
    before = RayTrainReportCallback.get_model(checkpoint) if checkpoint else None
    left = config["rounds"] - (before.num_boosted_rounds() if before else 0)
    report = RayTrainReportCallback(frequency=CHECKPOINT_ROUNDS, checkpoint_at_end=False)
    params = {**config["params"], "nthread": config["threads"]}
    xgboost.train(params, matrix, left, xgb_model=before, callbacks=[Notes(), report])


def notes_in(folder: Path) -> list[dict[str, Any]]:
    """All notes so far, in order of time. A line that is being written is left for later."""
    lines = [line for file in folder.glob("*.jsonl") for line in file.read_text().split("\n")[:-1]]
    return sorted((json.loads(line) for line in lines), key=lambda n: float(n["at"]))


def kill_and_watch(folder: Path, case: Case, found: dict[str, Any]) -> None:
    """Kill the last rank once a round is reached; find the first round that is finished by a new group."""
    end = time.monotonic() + WAIT_S
    killed: set[int] = set()
    while time.monotonic() < end and "recovery_s" not in found:
        time.sleep(STEP_S)
        notes = notes_in(folder)
        if not killed:
            last = [n for n in notes if n["rank"] == case.workers - 1 and n.get("round", 0) >= KILL_AT_ROUND]
            if last:
                killed = {n["pid"] for n in notes}
                found["killed_round"] = max(n.get("round", 0) for n in notes)
                found["killed_at"] = time.time()
                os.kill(last[0]["pid"], signal.SIGKILL)
            continue
        after = [n for n in notes if n["at"] > found["killed_at"] and n["pid"] not in killed]
        finished = [n for n in after if "round" in n]
        if finished:
            found["recovery_s"] = finished[0]["at"] - found["killed_at"]
            found["rebuild_s"] = max((n["built_s"] for n in after if "built_s" in n), default=0.0)
            found["resumed_round"] = finished[0]["round"]


def main() -> None:
    """Time one recovery."""
    os.environ |= {"RAY_TRAIN_V2_ENABLED": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    case = Case.from_arguments()
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.xgboost import XGBoostTrainer

    folder = Path(case.folder)
    notes = folder / "notes"
    notes.mkdir(parents=True)
    ray.init(num_cpus=case.workers + 1, include_dashboard=False, log_to_driver=False, _temp_dir=str(folder / "r"))
    found: dict[str, Any] = {}
    watch = threading.Thread(target=kill_and_watch, args=(notes, case, found), daemon=True)
    watch.start()
    config = {"rows": case.rows, "params": case.params, "rounds": case.rounds, "threads": case.threads}
    try:
        XGBoostTrainer(
            train,
            train_loop_config={**config, "notes": str(notes)},
            scaling_config=ScalingConfig(num_workers=case.workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(
                name="bench", storage_path=str(folder / "storage"), failure_config=FailureConfig(max_failures=2)
            ),
        ).fit()
    finally:
        ray.shutdown()
    watch.join(1.0)
    case.finish(0.0, 0.0, 0.0, 0.0, **found)


if __name__ == "__main__":
    main()
