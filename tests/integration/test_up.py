"""The stack as people use it: up, a run triggered by hand in a real browser, from code, and from the command line."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from kubernetes import client, config

from composer.local import airflow_server
from composer.local.places import REPOSITORY
from composer.local.running import NAMESPACE
from f1_training.core.plan import job_id
from f1_training.data.simulator import SeasonSet, simulate
from tests.fakes import documentation
from tests.integration import browser, prometheus
from tests.integration.prometheus import Prometheus
from tests.integration.stack_up import RUN_S, Up, command, made, succeeded, up
from tests.waiting import eventually

__all__ = ["up"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
#: Enough that a chief trains for long after it was looked at.
ROUNDS = 3000


def test_it_says_where_it_is_and_how_to_log_in(up: Up) -> None:
    assert up.info.airflow in up.said
    assert f"admin / {airflow_server.password(up.places)}" in up.said
    again = command("composer.local.up", "up", environment=up.environment)
    assert again.stdout in up.said, "a second `make up` finds the first"


def test_the_pool_of_jobs_counts_what_runs_in_the_triggerer(up: Up) -> None:
    pool = up.api.call("GET", "/pools/f1_training")
    assert (pool["include_deferred"], pool["slots"] > 0) == (True, True)
    assert up.api.call("GET", "/dagWarnings")["dag_warnings"] == []


def test_no_dag_fails_to_import(up: Up) -> None:
    assert up.api.call("GET", "/importErrors")["import_errors"] == []
    listed = command("composer.local.airflow_cli", "dags", "list-import-errors", environment=up.environment)
    assert listed.returncode == 0
    assert "No data found" in listed.stdout


@pytest.mark.browser
@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
def test_a_run_triggered_by_hand_in_the_browser_turns_green(up: Up, tmp_path: Path) -> None:
    with browser.airflow_page(up.info.airflow, tmp_path / "profile") as page:
        try:
            page.log_in("admin", airflow_server.password(up.places))
            form = {"model_type": "tire_degradation", "num_workers": "2", "rounds": "20"}
            page.trigger("f1_training", form, "by-hand")
            page.leave()
            tasks = succeeded(up, "by-hand")
            stages = {t["task_id"].split(".")[1] for t in tasks if "." in t["task_id"]}
            assert stages == {"gate", "snapshot", "validate", "train", "evaluate", "register", "serve"}
            text = page.run_page_text("f1_training", "by-hand", until="Success")
            assert "Failed" not in text
        finally:
            page.screenshot(up.places.folder("screenshots") / "by-hand.png")
    result = up.api.xcom("f1_training", "by-hand", "model.register.register", 0)
    assert (result["workers"], result["rounds"] <= 20) == (2, True)


@dataclass(frozen=True)
class Killed:
    """A run whose first two chiefs were killed, and what was seen while it trained."""

    job_id: str
    pages: str
    tasks: list[dict[str, Any]]
    scraped: list[dict[str, str]]
    alert: dict[str, Any]


def manifests(up: Up, job_id: str) -> set[Path]:
    return set((up.places.root / "storage").rglob(f"checkpoints/{job_id}/**/manifest.json"))


def chief_of(up: Up, job_id: str) -> psutil.Process | None:
    """The chief's pod."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "trainer.chief" in process.cmdline() and process.environ().get("TRAINING_JOB_ID") == job_id:
                return process
    return None


def committing_chief(up: Up, job_id: str, before: set[Path]) -> psutil.Process:
    """The chief, once a round is committed that is not one of ``before``."""
    eventually(lambda: manifests(up, job_id) - before, "a round is committed", within_s=RUN_S)
    return eventually(lambda: chief_of(up, job_id), "its chief is there")


@pytest.fixture(scope="module")
def killed(up: Up) -> Killed:
    """A run that is on its third chief until its alert fires, and then to its end."""
    up.api.call("PATCH", "/dags/f1_training?update_mask=is_paused", {"is_paused": False})
    asked = {"model_type": "tire_degradation", "num_workers": 1, "rounds": ROUNDS, "early_stopping_rounds": 0}
    up.api.call(
        "POST", "/dags/f1_training/dagRuns", {"logical_date": None, "dag_run_id": "chief-killed", "conf": asked}
    )
    job, watch = job_id("f1_training", "chief-killed", "tire_degradation"), Prometheus(up.info.prometheus)
    chief, scraped, alert = committing_chief(up, job, set()), [], {}
    pages = command("composer.local.metrics", environment=up.environment).stdout
    if up.info.prometheus:
        scraped = eventually(lambda: watch.series(f'{{job_id="{job}"}}'), "Prometheus has scraped its pod")
    for _ in range(2):
        os.killpg(chief.pid, signal.SIGKILL)
        chief.wait(20)
        chief = committing_chief(up, job, manifests(up, job))
    if up.info.prometheus:
        alert = eventually(lambda: watch.firing("chief-restarts", job_id=job), "a third chief fires")
    return Killed(job_id=job, pages=pages, tasks=succeeded(up, "chief-killed"), scraped=scraped, alert=alert)


def test_a_run_whose_chiefs_are_killed_tries_again_by_itself(up: Up, killed: Killed) -> None:
    status = re.search(
        r'^training_job_status\{model_type="tire_degradation",status="running"\} (\d)$', killed.pages, re.MULTILINE
    )
    assert status is not None, killed.pages
    assert status[1] == "1"
    assert f'training_worker_memory_usage_bytes{{job_id="{killed.job_id}",worker_index="0"}}' in killed.pages
    (train,) = (t for t in killed.tasks if t["task_id"] == "model.train.train")
    assert train["try_number"] == 3
    trained = up.api.xcom("f1_training", "chief-killed", "model.train.train", 0)
    assert (trained["attempt"], trained["resumed"], trained["rounds"]) == (3, True, ROUNDS)
    log = up.api.task_log("f1_training", "chief-killed", {**train, "try_number": 1})
    assert "decision: retry in 5 s: ChiefLost, retry 1 of 3, as before" in log
    said = command("composer.runs", environment=up.environment).stdout.splitlines()
    first, second, third = (line for line in said if line.startswith("chief-killed") and "train[0]" in line)
    assert re.search(r"train\[0\] +1 +failed .* ChiefLost +retry in 5 s: ChiefLost, retry 1 of 3, as before$", first)
    assert re.search(r"train\[0\] +2 +failed .* ChiefLost +retry in \d+ s: ChiefLost, retry 2 of 3, as before$", second)
    assert re.search(r"train\[0\] +3 +succeeded ", third)


@prometheus.needed
def test_prometheus_shows_what_trains_and_fires_on_the_third_chief(up: Up, killed: Killed) -> None:
    assert {s["namespace"] for s in killed.scraped} == {NAMESPACE}
    names = {s["__name__"] for s in killed.scraped}
    assert {"training_progress_iterations_completed", "training_worker_cpu_utilization"} <= names
    assert killed.alert["labels"]["severity"] == "warning"
    assert float(killed.alert["value"]) == 2
    watch = Prometheus(up.info.prometheus)
    # Airflow's side, told by the process of a task that ended.
    retries = 'training_job_retry_count{failure_reason="ChiefLost"}'
    ((_, count),) = (found["value"] for found in watch.ask("query", query=retries)["result"])
    assert float(count) >= 2
    assert eventually(lambda: watch.series('training_job_finished{status="succeeded"}'), "its end is counted")
    eventually(lambda: watch.rule("chief-restarts")["state"] == "inactive", "it is over with the run")


@prometheus.needed
@pytest.mark.browser
@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
def test_the_dashboard_shows_the_run(up: Up, killed: Killed, tmp_path: Path) -> None:
    (address,) = (line.split()[1] for line in up.said.splitlines() if line.startswith("dashboard"))
    ended = 'training_job_finished{status="succeeded"}'
    eventually(lambda: Prometheus(up.info.prometheus).series(ended), "its end is counted")
    with browser.dashboard_page(address, tmp_path / "profile") as page:
        page.screenshot(up.places.folder("screenshots") / "dashboard.png")
        drawn = page.charts()
        assert page.problems() == []
        assert page.addresses() == {up.info.prometheus}
    empty = {title for title, series in drawn.items() if not series}
    untold = {"Month to date, and its budget", "What runs have cost"}
    # One worker trains alone: no group is there to be lost.
    assert empty == {*untold, "Recoveries of an attempt", "Time to recover, on average"}


def readme_block(language: str, mark: str) -> str:
    blocks = [b.text for b in documentation.page("README.md").blocks if b.language == language]
    found = [block for block in blocks if mark in block]
    assert len(found) == 1, f"README has {len(found)} blocks with {mark!r}"
    return found[0]


def test_the_readmes_runs_from_the_command_line_and_from_code(up: Up) -> None:
    up.api.call("PATCH", "/dags/f1_training?update_mask=is_paused", {"is_paused": False})
    done = subprocess.run(
        readme_block("", "dags trigger"),
        shell=True,
        cwd=REPOSITORY,
        env=up.environment,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    values = {'"http://127.0.0.1:8080", "..."': f'"{up.info.airflow}", "{airflow_server.password(up.places)}"'}
    program = readme_block("python", "urllib.request")
    for old, new in values.items():
        assert old in program
        program = program.replace(old, new)
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    runs = up.api.call("GET", "/dags/f1_training/dagRuns?limit=10")["dag_runs"]
    by_readme = {r["dag_run_id"]: r["conf"]["num_workers"] for r in runs if r["conf"].get("rounds") == 50}
    assert sorted(by_readme.values()) == [1, 2]
    assert by_readme[said.strip()] == 1
    # Both are there; that one of them trains is enough.
    for run_id in by_readme.keys() - {said.strip()}:
        up.api.fail_run("f1_training", run_id)
    succeeded(up, said.strip())


def test_wrong_params_are_refused_before_anything_starts(up: Up) -> None:
    body = {"logical_date": None, "conf": {"num_workers": 11}}
    with pytest.raises(Exception, match="num_workers|11"):
        up.api.call("POST", "/dags/f1_training/dagRuns", body)


def test_the_preflight_finds_that_everything_is_there(up: Up) -> None:
    done = command("composer.preflight", environment=up.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[-1] == "ready to train"
    verdicts = [line.split()[0] for line in said if line.startswith(("PASS", "FAIL", "SKIP"))]
    assert (verdicts.count("PASS"), verdicts.count("FAIL")) == (15, 0)
    left = [p for p in (up.places.root / "storage").rglob("preflight/*") if p.is_file()]
    assert left == [], "what was tried is removed"


def test_the_preflight_says_what_is_missing_and_tries_nothing_that_needs_it(up: Up) -> None:
    core = client.CoreV1Api(config.new_client_from_config(up.info.kubeconfig))
    core.create_namespaced_resource_quota(NAMESPACE, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}})
    try:
        done = command("composer.preflight", environment=up.environment)
    finally:
        core.delete_namespaced_resource_quota("small", NAMESPACE)
    assert done.returncode == os.EX_CONFIG
    assert "quota 'small': pods 3 is asked for, 2 is allowed" in done.stdout
    assert "-> raise the quota" in done.stdout
    assert "SKIP  dry run" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 of 20 checks failed"


@pytest.mark.timeout(600)
def test_make_run_trains_on_what_is_up_and_make_score_scores_it(up: Up, tmp_path: Path) -> None:
    trained, unseen = tmp_path / "laps.parquet", tmp_path / "unseen.parquet"
    pq.write_table(simulate(SeasonSet(seasons=4, races_per_season=5, drivers=8)), trained)
    pq.write_table(simulate(SeasonSet(seed=9, seasons=3, races_per_season=2, drivers=3)), unseen)
    words = ("run", f"LAPS={trained}", "WORKERS=1", "ROUNDS=50", "RUN_ID=by-make")
    done = made(*words, environment=up.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"using the stack that is up at {up.info.airflow}" in done.stdout
    last = json.loads(up.places.last_run.read_text())
    assert {"version", "model_uri", "sha256", "rounds", "metrics", "seconds"} <= last.keys()
    listed = made("models", "MODEL=tire_degradation", environment=up.environment)
    assert last["version"] in listed.stdout, listed.stderr
    scored = made("score", f"LAPS={unseen}", environment=up.environment)
    assert scored.returncode == 0, scored.stderr
    found = json.loads(scored.stdout)
    assert (found["model_type"], found["rows"] > 0) == ("tire_degradation", True)
