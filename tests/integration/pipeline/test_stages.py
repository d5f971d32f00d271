"""All stages in order, as the DAG wires them, with the real trainer in the pods: from laps to a champion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from f1_training.core.plan import RunPlan
from f1_training.operators import (
    DaskTrainingOperator,
    DataChecksOperator,
    EvaluationOperator,
    RegisterModelOperator,
    SnapshotOperator,
)
from f1_training.registry.store import Registry
from tests.fakes.run_plan import StateStore
from tests.integration.pipeline.conftest import Cluster, deployed, plan_of

pytestmark = pytest.mark.timeout(400)


class Run:
    """The tasks of one branch of a DAG run; XComs as plain JSON values."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.results: dict[str, Any] = {}
        self.stores = {name: StateStore() for name in ("snapshot", "train", "evaluate")}

    def task(self, name: str) -> Any:
        plan, done = self.plan.to_xcom(), self.results
        made: dict[str, Callable[[], Any]] = {
            "snapshot": lambda: SnapshotOperator(task_id="snapshot", plan=plan),
            "validate": lambda: DataChecksOperator(task_id="validate", plan=plan, snapshots=done["snapshot"]),
            "train": lambda: DaskTrainingOperator(
                task_id="train", plan=plan, snapshots=done["snapshot"], deferrable=False
            ),
            "evaluate": lambda: EvaluationOperator(
                task_id="evaluate", plan=plan, snapshots=done["snapshot"], trained=done["train"], deferrable=False
            ),
            "register": lambda: RegisterModelOperator(
                task_id="register",
                plan=plan,
                snapshots=done["snapshot"],
                trained=done["train"],
                evaluated=done["evaluate"],
            ),
        }
        return made[name]()

    def execute(self, *names: str) -> Any:
        for name in names:
            self.results[name] = self.task(name).execute({"task_state_store": self.stores.get(name)})
        return self.results[names[-1]]


@pytest.fixture
def settings(real_cluster: Cluster, tmp_path: Path) -> Any:
    return deployed(tmp_path, kubernetes_conn_id=real_cluster.conn_id)


@pytest.mark.slow
def test_from_laps_to_a_champion(settings: Any, tmp_path: Path) -> None:
    run = Run(plan_of(settings, run_id=tmp_path.name, rounds=30, num_workers=2))
    made = run.execute("snapshot", "validate", "train", "evaluate", "register")
    assert (made["model_type"], made["version"], made["workers"]) == ("tire_degradation", run.plan.model_version, 2)
    assert made["metrics"]["test_mae_ms"] < made["metrics"]["baseline_mae_ms"]
    assert set(made["metrics"]) >= {"final_loss", "train", "validation", "test"}
    assert made["champion"], made["reason"]
    assert Path(made["model_uri"].removeprefix("file://")).stat().st_size > 1000
    champion = Registry(settings.uris.models).champion("tire_degradation")
    assert champion is not None
    assert champion.card.sha256 == made["sha256"]
    assert champion.card.result.rows["train"] == sum(champion.card.spec.snapshot.rows["train"])
    found = champion.card.evaluation
    assert found.linear is not None
    assert 0 < found.linear.rows <= champion.card.result.rows["train"]
    assert {c.feature for c in found.details.drawn} == {"tire_age_laps", "fuel_fraction"}  # type: ignore[union-attr]
    assert list(found.breakdowns) == ["circuit", "compound", "season", "stint length"]
    for name, groups in found.breakdowns.items():
        assert sum(group.rows for group in groups) == found.rows, name
    assert [group.group for group in found.breakdowns["stint length"]] == ["1-5", "6-10", "11-20", "21-30", "31+"]

    # Cleared after all went well: the next attempt finds that nothing is left to train, and the model is the same.
    again = run.execute("train", "evaluate", "register")
    assert run.results["train"]["attempt"] == 2
    assert (again["sha256"], again["version"], again["champion"]) == (made["sha256"], made["version"], True)
    assert len(Registry(settings.uris.models).history("tire_degradation")) == 1


@pytest.mark.slow
def test_a_dry_run_on_one_worker_goes_everywhere_but_into_the_registry(settings: Any, tmp_path: Path) -> None:
    run = Run(plan_of(settings, run_id=tmp_path.name, dry_run=True, num_workers=1))
    assert run.execute("snapshot", "validate", "train")["rounds"] <= 20
    assert run.execute("evaluate")["rows"] > 0
    with pytest.raises(AirflowSkipException):
        run.execute("register")
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_a_gpu_where_there_is_none_is_a_clear_refusal(settings: Any, tmp_path: Path) -> None:
    run = Run(plan_of(settings, run_id=tmp_path.name, dry_run=True, num_workers=1, device="gpu"))
    run.execute("snapshot")
    with pytest.raises(AirflowFailException, match="^ConfigInvalid: ") as caught:
        run.execute("train")
    assert "cuda" in str(caught.value).lower() or "gpu" in str(caught.value).lower()
