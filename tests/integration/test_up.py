"""The stack as people use it: up, a run triggered by hand in a real browser, from code, and from the command line."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from kubernetes import client, config

from composer.local import airflow_server
from composer.local.places import REPOSITORY
from composer.local.stack import NAMESPACE
from f1_training.core.plan import job_id
from f1_training.data.simulator import SeasonSet, simulate
from tests.integration import browser
from tests.integration.stack_up import RUN_S, Up, command, made, succeeded, up

__all__ = ["up"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


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
            page.trigger("f1_training", {"num_workers": "2", "rounds": "20"}, "by-hand")
            tasks = succeeded(up, "by-hand")
            stages = {t["task_id"].split(".")[1] for t in tasks if "." in t["task_id"]}
            assert stages == {"gate", "snapshot", "validate", "train", "evaluate", "register", "serve"}
            text = page.run_page_text("f1_training", "by-hand", until="Success")
            assert "Failed" not in text
        finally:
            page.screenshot(up.places.folder("screenshots") / "by-hand.png")
    models = [plan["entry"]["model_type"] for plan in up.api.xcom("f1_training", "by-hand", "plan")]
    result = up.api.xcom("f1_training", "by-hand", "model.register.register", models.index("tire_degradation"))
    assert (result["workers"], result["rounds"] <= 20) == (2, True)


def chief_of(up: Up, job_id: str) -> psutil.Process | None:
    """The chief's pod, once a round is committed."""
    if not list((up.places.root / "storage").rglob(f"checkpoints/{job_id}/**/manifest.json")):
        return None
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "trainer.chief" in process.cmdline() and process.environ().get("TRAINING_JOB_ID") == job_id:
                return process
    return None


def test_a_run_whose_chief_is_killed_tries_again_by_itself(up: Up) -> None:
    up.api.call("PATCH", "/dags/f1_training?update_mask=is_paused", {"is_paused": False})
    asked = {"model_type": "tire_degradation", "num_workers": 1, "rounds": 3000, "early_stopping_rounds": 0}
    up.api.call(
        "POST", "/dags/f1_training/dagRuns", {"logical_date": None, "dag_run_id": "chief-killed", "conf": asked}
    )
    job, end = job_id("f1_training", "chief-killed", "tire_degradation"), time.monotonic() + RUN_S
    while (chief := chief_of(up, job)) is None:
        assert time.monotonic() < end, "no round was committed in time"
        time.sleep(0.05)
    pages = command("composer.local.metrics", environment=up.environment).stdout
    status = re.search(
        r'^training_job_status\{model_type="tire_degradation",status="running"\} (\d)$', pages, re.MULTILINE
    )
    assert status is not None, pages
    assert status[1] == "1"
    assert f'training_worker_memory_usage_bytes{{job_id="{job}",worker_index="0"}}' in pages
    os.killpg(chief.pid, signal.SIGKILL)
    (train,) = (t for t in succeeded(up, "chief-killed") if t["task_id"] == "model.train.train")
    assert train["try_number"] == 2
    trained = up.api.xcom("f1_training", "chief-killed", "model.train.train", 0)
    assert (trained["attempt"], trained["resumed"], trained["rounds"]) == (2, True, 3000)
    log = up.api.task_log("f1_training", "chief-killed", {**train, "try_number": 1})
    assert "decision: retry in 5 s: ChiefLost, retry 1 of 3, as before" in log
    said = command("composer.runs", environment=up.environment).stdout.splitlines()
    first, second = (line for line in said if line.startswith("chief-killed") and "train[0]" in line)
    assert re.search(r"train\[0\] +1 +failed .* ChiefLost +retry in 5 s: ChiefLost, retry 1 of 3, as before$", first)
    assert re.search(r"train\[0\] +2 +succeeded ", second)


def readme_block(language: str, mark: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    found = [block for block in blocks if mark in block]
    assert len(found) == 1, f"README has {len(found)} blocks with {mark!r}"
    return str(found[0])


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
    by_readme = [r["dag_run_id"] for r in runs if r["conf"].get("rounds") == 50]
    assert len(by_readme) == 2
    assert said.strip() in by_readme
    for run_id in by_readme:
        succeeded(up, run_id)


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
    assert (verdicts.count("PASS"), verdicts.count("FAIL")) == (14, 0)
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
    assert done.stdout.splitlines()[-1] == "1 of 16 checks failed"


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
