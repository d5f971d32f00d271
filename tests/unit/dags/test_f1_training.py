"""The DAG file is wiring: cheap to parse, free of heavy imports, and its form offers what a plan accepts."""

import itertools
from typing import Any

import pytest

from tests.unit.dags.parsing import HEAVY, parsed


@pytest.fixture(scope="module")
def dag() -> Any:
    return parsed("f1_training")


def test_parsing_takes_less_than_a_second_more_than_an_empty_dag(dag: Any) -> None:
    ours = dag["seconds"]
    assert ours < 1.0


def test_parsing_imports_nothing_heavy(dag: Any) -> None:
    before, after = (set(modules) for modules in dag["modules"])
    added = {name.partition(".")[0] for name in after - before}
    assert added & set(HEAVY) == set()
    boosting = ("dask", "xgboost", "lightgbm", "pandas")
    assert not [name for name in after if name.partition(".")[0] in boosting]


def test_the_stages_are_task_groups_in_the_pipeline_s_order(dag: Any) -> None:
    stages = ["gate", "snapshot", "validate", "train", "evaluate", "register", "serve"]
    assert dag["groups"] == sorted(["model", *(f"model.{stage}" for stage in stages)])
    tasks = [f"model.{stage}.{stage}" for stage in stages]
    asks, upload, deploy = (
        "model.validate.ask_to_open", "model.register.upload_to_vertex", "model.serve.deploy_to_vertex",
    )  # fmt: skip
    assert set(dag["edges"]) == {"catalogue", "plan", asks, upload, deploy, *tasks}
    assert asks in dag["edges"]["model.validate.validate"]
    # What Vertex AI refuses keeps no registration from being done, and no server from being looked at.
    assert upload in dag["edges"]["model.register.register"]
    assert dag["edges"][upload] == [deploy]
    order = ["plan", *tasks[:3], asks, *tasks[3:], upload, deploy]
    assert dag["edges"][asks] == dag["edges"][deploy] == []
    for before, after in itertools.pairwise(["plan", *tasks]):
        assert after in dag["edges"][before]
    # A file of the catalogue that cannot be read holds no model up: its task stands alone.
    assert dag["edges"]["catalogue"] == []
    assert not [task for task, downstream in dag["edges"].items() if "catalogue" in downstream]
    for task, downstream in dag["edges"].items():
        assert all(order.index(d) > order.index(task) for d in downstream)


def test_a_policy_decides_about_every_task_s_retries(dag: Any) -> None:
    assert set(dag["retries"]) == set(dag["edges"])
    assert {policy for _, policy in dag["retries"].values()} == {"ReasonedRetryPolicy"}
    # Enough for processes that are killed, about which no policy is asked.
    assert min(retries for retries, _ in dag["retries"].values()) >= 10


def test_jobs_have_a_pool_of_their_own_so_that_they_starve_nobody(dag: Any) -> None:
    from f1_training.core.settings import POOL

    jobs = {"model.train.train", "model.evaluate.evaluate"}
    assert {task for task, pool in dag["pools"].items() if pool == POOL} == jobs
    assert {pool for task, pool in dag["pools"].items() if task not in jobs} == {"default_pool"}
    assert dag["runs"] == 4


def test_it_runs_on_new_tables_and_weekly_and_never_for_the_past(dag: Any) -> None:
    assert "AssetOrTimeSchedule" in dag["schedule"]
    # With a start date, the newest time that was missed would be made up for as soon as the DAG is unpaused.
    assert (dag["catchup"], dag["start"]) == (False, "None")


def test_the_form_offers_what_a_plan_takes(dag: Any) -> None:
    from f1_training.core.plan import PARAMS

    form = dag["form"]
    assert tuple(form) == PARAMS
    assert form["model_type"]["enum"][0] == "all"
    assert "tire_degradation" in form["model_type"]["enum"]
    assert (form["num_workers"]["default"], form["num_workers"]["minimum"], form["num_workers"]["maximum"]) == (
        4,
        1,
        10,
    )
    assert form["device"]["enum"] == ["cpu", "gpu"]
    assert all(p["title"] and p["description"] for p in form.values())


def test_the_form_s_defaults_make_a_plan(dag: Any) -> None:
    from f1_training.core.plan import plan_runs
    from tests.fakes.run_plan import RUN, settings
    from trainer.contract import read_catalogue

    defaults = {name: p["default"] for name, p in dag["form"].items()}
    assert plan_runs(defaults, settings(), RUN, read_catalogue(), "0.1.0")


def test_the_documentation_names_every_reason(dag: Any) -> None:
    from trainer.contract import FailureReason

    assert [reason for reason in FailureReason if reason.value not in dag["doc"]] == []
